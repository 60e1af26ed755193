#include "env/linux/epoll_socket.h"

#include <cerrno>
#include <sys/epoll.h>

namespace pangu::env {

EpollSocket::EpollSocket(EpollEnv& env, Fd fd, const Address& peer)
    : env_(env), fd_(std::move(fd)), peer_(peer) {}

EpollSocket::~EpollSocket() {
  CHECK_NOTE(in_.running == nullptr && out_.running == nullptr && connecting_ == nullptr,
             "a socket was destroyed under an operation");
}

void EpollSocket::connect(EpollEnv& env, Operation& op, Fd fd, const Address& to,
                          std::unique_ptr<Socket>& into) {
  auto socket = std::make_unique<EpollSocket>(env, std::move(fd), to);
  SocketAddress native = to_socket_address(to);
  if (::connect(socket->fd_.get(), native.get(), native.size) != 0 && errno != EINPROGRESS) {
    env.complete_later(op, -errno);
    return;
  }
  EpollSocket& connecting = *socket.release();  // finish_connecting() takes it back
  connecting.connecting_ = &op;
  connecting.connecting_into_ = &into;
  env.add_waiting(1);
  // Only now: a socket that has not begun to connect counts as hung up.
  env.watch(connecting.fd_.get(), connecting);
}

void EpollSocket::finish_connecting() {
  int error = 0;
  socklen_t size = sizeof error;
  CHECK(::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size) == 0);
  env_.add_waiting(-1);
  EpollEnv& env = env_;
  Operation& op = *std::exchange(connecting_, nullptr);
  std::unique_ptr<Socket> self(this);
  if (error == 0) {
    *connecting_into_ = std::move(self);
  }
  env.complete_later(op, -error);
}

void EpollSocket::on_ready(u32 events) {
  constexpr u32 kBroken = EPOLLERR | EPOLLHUP;
  if (connecting_ != nullptr) {
    if ((events & (EPOLLOUT | kBroken)) != 0) {
      finish_connecting();
    }
    return;
  }
  if ((events & (EPOLLIN | EPOLLRDHUP | kBroken)) != 0) {
    in_.ready = true;
    if (in_.running != nullptr) {
      try_receive();
    }
  }
  if ((events & (EPOLLOUT | kBroken)) != 0) {
    out_.ready = true;
    if (out_.running != nullptr) {
      try_send();
    }
  }
}

void EpollSocket::begin(Direction& direction, Operation& op, std::span<const iovec> pieces) {
  CHECK_NOTE(direction.running == nullptr, "two operations at once on one direction of a socket");
  direction.running = &op;
  direction.cursor.start(pieces);
  env_.add_waiting(1);
}

void EpollSocket::end(Direction& direction, i64 result) {
  env_.add_waiting(-1);
  env_.complete_later(*std::exchange(direction.running, nullptr), result);
}

void EpollSocket::receive(Operation& op, std::span<const iovec> pieces) {
  begin(in_, op, pieces);
  in_.some = false;
  if (shut_down_) {
    end(in_, -ECANCELED);
  } else if (in_.ready || in_.cursor.finished()) {
    try_receive();
  }
}

void EpollSocket::receive_some(Operation& op, MutableBytes into) {
  CHECK(!into.empty());
  const iovec piece{into.data(), into.size()};
  begin(in_, op, {&piece, 1});
  in_.some = true;
  if (shut_down_) {
    end(in_, -ECANCELED);
  } else if (in_.ready) {
    try_receive();
  }
}

i64 EpollSocket::receive_now(std::span<const iovec> pieces) {
  CHECK_NOTE(in_.running == nullptr, "two operations at once on one direction of a socket");
  return shut_down_ ? -ECANCELED : receive_without_waiting(fd_.get(), pieces);
}

void EpollSocket::send(Operation& op, std::span<const iovec> pieces) {
  begin(out_, op, pieces);
  if (shut_down_) {
    end(out_, -ECANCELED);
  } else if (out_.ready || out_.cursor.finished()) {
    try_send();
  }
}

void EpollSocket::try_receive() {
  while (!in_.cursor.finished()) {
    const std::span<iovec> pieces = in_.cursor.next();
    msghdr header{};
    header.msg_iov = pieces.data();
    header.msg_iovlen = pieces.size();
    const ssize_t got = pieces.size() == 1
                            ? ::recv(fd_.get(), pieces[0].iov_base, pieces[0].iov_len, 0)
                            : ::recvmsg(fd_.get(), &header, 0);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0 && errno == EAGAIN) {
      in_.ready = false;
      return;
    }
    if (got < 0) {
      end(in_, -errno);
      return;
    }
    if (got == 0) {
      break;
    }
    in_.cursor.advance(static_cast<u64>(got));
    if (in_.some) {
      break;
    }
  }
  end(in_, static_cast<i64>(in_.cursor.done()));
}

void EpollSocket::try_send() {
  while (!out_.cursor.finished()) {
    const std::span<iovec> pieces = out_.cursor.next();
    msghdr header{};
    header.msg_iov = pieces.data();
    header.msg_iovlen = pieces.size();
    const ssize_t sent =
        pieces.size() == 1 ? ::send(fd_.get(), pieces[0].iov_base, pieces[0].iov_len, MSG_NOSIGNAL)
                           : ::sendmsg(fd_.get(), &header, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) {
      continue;
    }
    if (sent < 0 && errno == EAGAIN) {
      out_.ready = false;
      return;
    }
    if (sent < 0) {
      end(out_, -errno);
      return;
    }
    out_.cursor.advance(static_cast<u64>(sent));
  }
  end(out_, static_cast<i64>(out_.cursor.done()));
}

void EpollSocket::shutdown() {
  if (std::exchange(shut_down_, true)) {
    return;
  }
  ::shutdown(fd_.get(), SHUT_RDWR);
  for (Direction* direction : {&in_, &out_}) {
    if (direction->running != nullptr) {
      end(*direction, -ECANCELED);
    }
  }
}

EpollListener::EpollListener(EpollEnv& env, Fd fd, const Address& address)
    : env_(env), fd_(std::move(fd)), address_(address) {
  env_.watch(fd_.get(), *this);
}

void EpollListener::accept(Operation& op, std::unique_ptr<Socket>& into) {
  CHECK_NOTE(running_ == nullptr, "two accepts at once on one listener");
  if (shut_down_) {
    env_.complete_later(op, -ECANCELED);
    return;
  }
  running_ = &op;
  into_ = &into;
  env_.add_waiting(1);
  try_accept();
}

void EpollListener::end(i64 result) {
  env_.add_waiting(-1);
  env_.complete_later(*std::exchange(running_, nullptr), result);
}

void EpollListener::try_accept() {
  for (;;) {
    SocketAddress from;
    Fd fd(::accept4(fd_.get(), from.get(), &from.size, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd.valid()) {
      const int number = fd.get();
      auto socket = std::make_unique<EpollSocket>(env_, std::move(fd), from_socket_address(from));
      env_.watch(number, *socket);
      *into_ = std::move(socket);
      end(0);
      return;
    }
    if (errno == EAGAIN) {
      return;
    }
    if (errno != EINTR && errno != ECONNABORTED) {
      end(-errno);
      return;
    }
  }
}

void EpollListener::on_ready(u32) {
  if (running_ != nullptr) {
    try_accept();
  }
}

void EpollListener::shutdown() {
  if (std::exchange(shut_down_, true)) {
    return;
  }
  ::shutdown(fd_.get(), SHUT_RDWR);
  if (running_ != nullptr) {
    end(-ECANCELED);
  }
}

}  // namespace pangu::env
