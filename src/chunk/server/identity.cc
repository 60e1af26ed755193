#include "chunk/server/identity.h"

#include <charconv>
#include <fmt/format.h>

#include "base/key_values.h"

namespace pangu::chunk {

namespace {

constexpr std::string_view kFormatVersion = "1";

std::string identity_path(const std::string& directory) {
  return directory + "/identity.toml";
}

Result<ServerIdentity> parse_identity(const std::string& path, std::string_view text) {
  TRY(values, parse_key_values(path, text));
  TRY(version, required_value(path, values, "format_version"));
  if (version != kFormatVersion) {
    return Error(Code::kWrongVersion, fmt::format("{} has format version {}, this program reads {}",
                                                  path, version, kFormatVersion));
  }
  ServerIdentity out;
  TRY(identity_text, required_value(path, values, "identity"));
  TRY(identity, parse_uuid(identity_text));
  out.identity = identity;
  TRY(cluster_text, required_value(path, values, "cluster"));
  TRY(cluster, parse_uuid(cluster_text));
  out.cluster = cluster;
  TRY(server_text, required_value(path, values, "server"));
  const auto [end, error] = std::from_chars(
      server_text.data(), server_text.data() + server_text.size(), out.server.number);
  if (error != std::errc() || end != server_text.data() + server_text.size()) {
    return Error(Code::kInvalidArgument,
                 fmt::format("{}: server '{}' is no number", path, server_text));
  }
  return out;
}

}  // namespace

Result<DataDirectory> open_data_directory(env::Env& env, const std::string& path) {
  TRY_VOID(env.files().make_directories(path));
  DataDirectory out{.path = path};
  TRY(lock, env.files().open(path + "/lock", {.create = true, .lock = true}));
  out.lock = std::move(lock);
  const std::string name = identity_path(path);
  if (env.files().exists(name)) {
    TRY(text, env.files().read_file(name));
    TRY(identity, parse_identity(name, text));
    out.identity = identity;
    return out;
  }
  out.identity.identity = {.high = env.random(), .low = env.random()};
  TRY_VOID(store_identity(env, out));
  return out;
}

Status store_identity(env::Env& env, const DataDirectory& directory) {
  const KeyValues values = {
      {"format_version", std::string(kFormatVersion)},
      {"role", "chunkserver"},
      {"identity", to_string(directory.identity.identity)},
      {"cluster", to_string(directory.identity.cluster)},
      {"server", to_string(directory.identity.server)},
  };
  return env.files().replace_file(
      identity_path(directory.path),
      format_key_values("Who this chunkserver is. Do not copy or edit.", values));
}

}  // namespace pangu::chunk
