#pragma once
#include <netinet/in.h>
#include <sys/socket.h>

#include "env/env.h"
#include "env/linux/fd.h"

// What both real Envs need to know of TCP.
namespace pangu::env {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};
SocketAddress to_socket_address(const Address& address);
Address from_socket_address(const SocketAddress& address);

enum class Blocking : u8 { yes, no };

// A socket that listens at `address`; `bound` becomes the address with its real port. Sockets
// accepted from it inherit TCP_NODELAY and
// the keep-alive settings.
Result<Fd> open_listener(const Address& address, Blocking blocking, Address& bound);
// A socket to connect to `address`; invalid with errno set on failure.
Fd open_stream(const Address& address, Blocking blocking);

// Socket::receive_now on a descriptor, blocking or not.
i64 receive_without_waiting(int fd, std::span<const iovec> pieces);

// The progress of one send or receive over several pieces. Immovable: it may point into itself.
class PieceCursor {
 public:
  PieceCursor() = default;
  PieceCursor(const PieceCursor&) = delete;
  PieceCursor& operator=(const PieceCursor&) = delete;

  // Arrays of more than kPiecesMax pieces are used in place until finished().
  void start(std::span<const iovec> pieces);
  bool finished() const { return index_ == pieces_.size(); }
  u64 done() const { return done_; }
  // The next part to transfer, at most IOV_MAX pieces, the first not empty. REQUIRES: !finished()
  std::span<iovec> next();
  void advance(u64 bytes);

 private:
  void skip_empty();
  std::span<const iovec> pieces_;
  size_t index_ = 0;   // the first piece that is not done,
  size_t offset_ = 0;  // and how much of it is
  u64 done_ = 0;
  std::array<iovec, kPiecesMax> own_;
  std::array<iovec, 16> window_;
};

}  // namespace pangu::env
