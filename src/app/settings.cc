#include "app/settings.h"

#include <fmt/format.h>

#include "app/local_file.h"
#include "app/nearest.h"
#include "app/value.h"
#include "base/units.h"
#include "env/linux/linux_env.h"

namespace pangu::app {

namespace {
std::optional<u8> hex_digit(char c) {
  if (c >= '0' && c <= '9') {
    return static_cast<u8>(c - '0');
  }
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? std::optional<u8>(static_cast<u8>(lower - 'a' + 10))
                                      : std::nullopt;
}
}  // namespace

Result<rpc::ClusterKey> parse_cluster_key(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) {
    text.remove_suffix(1);
  }
  rpc::ClusterKey key;
  if (text.size() != 2 * key.size()) {
    return Error(Code::kInvalidArgument,
                 fmt::format("a cluster key is {} hexadecimal digits, not {} characters",
                             2 * key.size(), text.size()));
  }
  for (size_t i = 0; i < key.size(); ++i) {
    const auto high = hex_digit(text[2 * i]);
    const auto low = hex_digit(text[2 * i + 1]);
    if (!high || !low) {
      return Error(Code::kInvalidArgument, "a cluster key has hexadecimal digits only");
    }
    key[i] = static_cast<std::byte>(*high * 16 + *low);
  }
  return key;
}

Result<std::optional<rpc::ClusterKey>> cluster_key(const Config& config) {
  const std::string& path = config.text("cluster.key_file");
  if (path.empty()) {
    return std::optional<rpc::ClusterKey>();
  }
  TRY(text, read_small_file(path));
  auto key = parse_cluster_key(text);
  if (!key.ok()) {
    return std::move(key).error().within(path);
  }
  return std::optional<rpc::ClusterKey>(*key);
}

Result<std::vector<env::Address>> addresses(std::string_view text) {
  std::vector<env::Address> out;
  for (const std::string& one : split(text, ',')) {
    TRY(address, env::resolve_address(one));
    out.push_back(address);
  }
  if (out.empty()) {
    return Error(Code::kInvalidArgument, "no address given; write host:port[,host:port...]");
  }
  return out;
}

Result<std::vector<env::Address>> master_addresses(const Config& config) {
  auto out = addresses(config.text("cluster.masters"));
  if (!out.ok()) {
    return std::move(out).error().within(
        fmt::format("cluster.masters ({})", config.origin_text("cluster.masters")));
  }
  return out;
}

Result<DeviceSpec> parse_device(std::string_view text) {
  const std::vector<std::string> parts = split(text, ',');
  if (parts.empty() || text.starts_with(',')) {
    return Error(Code::kInvalidArgument,
                 fmt::format("'{}' names no device; write PATH[,size=64G]", text));
  }
  DeviceSpec spec;
  spec.path = parts[0];
  for (size_t i = 1; i < parts.size(); ++i) {
    constexpr std::string_view kSize = "size=";
    if (!parts[i].starts_with(kSize)) {
      constexpr std::string_view kKnown[] = {"size"};
      const std::string name = parts[i].substr(0, parts[i].find('='));
      return Error(Code::kInvalidArgument, fmt::format("device {}: unknown option '{}'{}",
                                                       spec.path, name,
                                                       did_you_mean(name, kKnown)));
    }
    auto size = parse_size(std::string_view(parts[i]).substr(kSize.size()));
    if (!size.ok()) {
      return std::move(size).error().within(fmt::format("device {}", spec.path));
    }
    spec.size = *size;
  }
  return spec;
}

}  // namespace pangu::app
