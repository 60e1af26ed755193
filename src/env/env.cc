#include "env/env.h"

#include <arpa/inet.h>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fmt/format.h>

namespace pangu::env {

namespace {
constexpr std::array<u8, 12> kV4Prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
}  // namespace

bool Address::is_v4() const {
  return std::equal(kV4Prefix.begin(), kV4Prefix.end(), ip.begin());
}

bool Address::is_loopback() const {
  if (is_v4()) {
    return ip[12] == 127;
  }
  std::array<u8, 16> one{};
  one[15] = 1;
  return ip == one;
}

std::string to_string(const Address& address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address.is_v4()) {
    inet_ntop(AF_INET, address.ip.data() + 12, text, sizeof text);
    return fmt::format("{}:{}", text, address.port);
  }
  inet_ntop(AF_INET6, address.ip.data(), text, sizeof text);
  return fmt::format("[{}]:{}", text, address.port);
}

Result<Address> parse_address(std::string_view text) {
  const Error bad(Code::kInvalidArgument,
                  fmt::format("'{}' is no address: write HOST:PORT, as in 127.0.0.1:7100", text));
  Address out;
  const auto colon = text.rfind(':');
  std::string host(colon == text.npos ? "127.0.0.1" : text.substr(0, colon));
  const std::string_view port = colon == text.npos ? text : text.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (port.empty() || error != std::errc() || end != port.data() + port.size()) {
    return bad;
  }
  if (host.empty() || host == "localhost") {
    host = "127.0.0.1";
  }
  if (host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    return inet_pton(AF_INET6, host.c_str(), out.ip.data()) == 1 ? Result<Address>(out) : bad;
  }
  std::copy(kV4Prefix.begin(), kV4Prefix.end(), out.ip.begin());
  return inet_pton(AF_INET, host.c_str(), out.ip.data() + 12) == 1 ? Result<Address>(out) : bad;
}

Error error_from_errno(int error, std::string_view what) {
  Code code = Code::kIoError;
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      code = Code::kNoSpace;
      break;
    case ENOENT:
      code = Code::kNotFound;
      break;
    case EEXIST:
      code = Code::kAlreadyExists;
      break;
    case EACCES:
    case EPERM:
      code = Code::kPermission;
      break;
    case EROFS:
      code = Code::kReadOnly;
      break;
    case ECANCELED:
      code = Code::kCancelled;
      break;
    case ETIMEDOUT:
      code = Code::kTimeout;
      break;
    case EAGAIN:
    case EBUSY:
      code = Code::kInUse;
      break;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
      code = Code::kConnectFailed;
      break;
    case ECONNRESET:
    case EPIPE:
    case ENOTCONN:
    case ECONNABORTED:
      code = Code::kConnectionLost;
      break;
    default:
      break;
  }
  return Error(code, fmt::format("{}: {}", what, std::strerror(error)));
}

}  // namespace pangu::env
