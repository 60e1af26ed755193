#include "env/linux/sockets.h"

#include <cerrno>
#include <fmt/format.h>
#include <netinet/tcp.h>

namespace pangu::env {

namespace {

constexpr std::array<u8, 12> kV4Prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr int kBacklog = 4096;
constexpr size_t kPiecesPerCall = 1024;  // IOV_MAX
constexpr int kConnectRetries = 2;       // a silent host fails after 1 + 2 + 4 s, not two minutes
constexpr int kKeepIdleSeconds = 10;
constexpr int kKeepIntervalSeconds = 5;
constexpr int kKeepProbes = 4;

void set_option(const Fd& fd, int level, int option, int value) {
  ::setsockopt(fd.get(), level, option, &value, sizeof value);
}

Fd open_socket(const Address& address, Blocking blocking) {
  const int family = address.is_v4() ? AF_INET : AF_INET6;
  Fd fd(::socket(family,
                 SOCK_STREAM | SOCK_CLOEXEC | (blocking == Blocking::no ? SOCK_NONBLOCK : 0), 0));
  if (fd.valid()) {
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    // An idle peer whose host has vanished is noticed within half a minute. (No TCP_USER_TIMEOUT: it
    // also ends connections whose peer is alive but does not read for a while.)
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, kKeepIdleSeconds);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, kKeepIntervalSeconds);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, kKeepProbes);
  }
  return fd;
}

}  // namespace

SocketAddress to_socket_address(const Address& address) {
  SocketAddress out;
  if (address.is_v4()) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(address.port);
    std::memcpy(&v4.sin_addr, address.ip.data() + kV4Prefix.size(), 4);
    std::memcpy(&out.storage, &v4, sizeof v4);
    out.size = sizeof v4;
    return out;
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(address.port);
  std::memcpy(&v6.sin6_addr, address.ip.data(), 16);
  std::memcpy(&out.storage, &v6, sizeof v6);
  out.size = sizeof v6;
  return out;
}

Address from_socket_address(const SocketAddress& address) {
  Address out;
  if (address.storage.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address.storage, sizeof v4);
    std::copy(kV4Prefix.begin(), kV4Prefix.end(), out.ip.begin());
    std::memcpy(out.ip.data() + kV4Prefix.size(), &v4.sin_addr, 4);
    out.port = ntohs(v4.sin_port);
  } else if (address.storage.ss_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &address.storage, sizeof v6);
    std::memcpy(out.ip.data(), &v6.sin6_addr, 16);
    out.port = ntohs(v6.sin6_port);
  }
  return out;
}

Result<Fd> open_listener(const Address& address, Blocking blocking, Address& bound) {
  Fd fd = open_socket(address, blocking);
  SocketAddress native = to_socket_address(address);
  if (fd.valid()) {
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  }
  if (!fd.valid() || ::bind(fd.get(), native.get(), native.size) != 0 ||
      ::listen(fd.get(), kBacklog) != 0) {
    const int why = errno;
    const std::string what = fmt::format("cannot listen on {}", to_string(address));
    if (why == EADDRINUSE) {
      return Error(Code::kInUse, what + ": another process does; stop it or choose another port");
    }
    return error_from_errno(why, what);
  }
  native.size = sizeof native.storage;
  CHECK(::getsockname(fd.get(), native.get(), &native.size) == 0);
  bound = from_socket_address(native);
  return fd;
}

Fd open_stream(const Address& address, Blocking blocking) {
  Fd fd = open_socket(address, blocking);
  if (fd.valid()) {
    set_option(fd, IPPROTO_TCP, TCP_SYNCNT, kConnectRetries);
  }
  return fd;
}

void PieceCursor::start(std::span<const iovec> pieces) {
  if (pieces.size() <= own_.size()) {
    std::copy(pieces.begin(), pieces.end(), own_.begin());
    pieces = {own_.data(), pieces.size()};
  }
  pieces_ = pieces;
  index_ = 0;
  offset_ = 0;
  done_ = 0;
  skip_empty();
}

void PieceCursor::skip_empty() {
  while (index_ < pieces_.size() && pieces_[index_].iov_len == offset_) {
    ++index_;
    offset_ = 0;
  }
}

i64 receive_without_waiting(int fd, std::span<const iovec> pieces) {
  msghdr header{};
  header.msg_iov = const_cast<iovec*>(pieces.data());  // only read; the interface lacks the const
  header.msg_iovlen = pieces.size();
  for (;;) {
    const ssize_t got = ::recvmsg(fd, &header, MSG_DONTWAIT);
    if (got >= 0 || errno != EINTR) {
      return got >= 0 ? got : -errno;
    }
  }
}

std::span<iovec> PieceCursor::next() {
  const auto rest = pieces_.subspan(index_);
  if (offset_ == 0) {
    // The kernel only reads the array; its interfaces lack the const.
    return {const_cast<iovec*>(rest.data()), std::min(rest.size(), kPiecesPerCall)};
  }
  const size_t count = std::min(rest.size(), window_.size());
  std::copy(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(count), window_.begin());
  window_[0].iov_base = static_cast<std::byte*>(window_[0].iov_base) + offset_;
  window_[0].iov_len -= offset_;
  return {window_.data(), count};
}

void PieceCursor::advance(u64 bytes) {
  done_ += bytes;
  while (bytes > 0) {
    CHECK(index_ < pieces_.size());
    const u64 left = pieces_[index_].iov_len - offset_;
    if (bytes < left) {
      offset_ += bytes;
      return;
    }
    bytes -= left;
    ++index_;
    offset_ = 0;
  }
  skip_empty();
}

}  // namespace pangu::env
