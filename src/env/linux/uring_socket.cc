#include "env/linux/uring_socket.h"

#include <cerrno>

#include "base/reached.h"

namespace pangu::env {

UringSocket::UringSocket(UringEnv& env, Fd fd, const Address& peer)
    : env_(env), fd_(std::move(fd)), peer_(peer) {}

UringSocket::~UringSocket() {
  CHECK_NOTE(in_.running == nullptr && out_.running == nullptr,
             "a socket was destroyed under an operation");
}

void UringSocket::connect(UringEnv& env, Operation& op, Fd fd, const Address& to,
                          std::unique_ptr<Socket>& into) {
  auto socket = std::make_unique<UringSocket>(env, std::move(fd), to);
  // The kernel copies the address when it is given the request, which may be after this call.
  static_assert(sizeof(sockaddr_in6) <= sizeof op.hidden.iov);
  const SocketAddress native = to_socket_address(to);
  std::memcpy(&op.hidden.iov, &native.storage, sizeof(sockaddr_in6));
  op.hidden.pointers[0] = socket.get();
  op.hidden.pointers[1] = &into;
  io_uring_sqe* sqe = env.ring().next();
  io_uring_prep_connect(sqe, socket->fd_.get(), reinterpret_cast<sockaddr*>(&op.hidden.iov),
                        native.size);
  socket.release();  // NOLINT: on_connected takes it back
  env.ring().track(sqe, op, on_connected);
}

void UringSocket::on_connected(Operation& op, i32 result) {
  std::unique_ptr<UringSocket> socket(static_cast<UringSocket*>(op.hidden.pointers[0]));
  if (result == 0) {
    *static_cast<std::unique_ptr<Socket>*>(op.hidden.pointers[1]) = std::move(socket);
  }
  op.done(&op, result);
}

void UringSocket::Direction::begin(Operation& op, std::span<const iovec> pieces) {
  CHECK_NOTE(running == nullptr, "two operations at once on one direction of a socket");
  running = &op;
  cursor.start(pieces);
}

void UringSocket::end(Direction& direction, i64 result) {
  Operation& op = *std::exchange(direction.running, nullptr);
  op.done(&op, result);
}

void UringSocket::receive(Operation& op, std::span<const iovec> pieces) {
  op.hidden.pointers[0] = this;
  in_.begin(op, pieces);
  if (in_.cursor.finished()) {
    in_.running = nullptr;
    env_.complete_later(op, 0);
    return;
  }
  submit_receive(op);
}

void UringSocket::submit_receive(Operation& op) {
  const std::span<iovec> pieces = in_.cursor.next();
  io_uring_sqe* sqe = env_.ring().next();
  if (pieces.size() == 1) {
    io_uring_prep_recv(sqe, fd_.get(), pieces[0].iov_base, pieces[0].iov_len, MSG_WAITALL);
  } else {
    in_.header.msg_iov = pieces.data();
    in_.header.msg_iovlen = pieces.size();
    io_uring_prep_recvmsg(sqe, fd_.get(), &in_.header, MSG_WAITALL);
  }
  env_.ring().track(sqe, op, on_received);
}

void UringSocket::on_received(Operation& op, i32 result) {
  auto* self = static_cast<UringSocket*>(op.hidden.pointers[0]);
  Direction& in = self->in_;
  if (result > 0) {
    in.cursor.advance(static_cast<u64>(result));
    if (in.cursor.finished()) {
      self->end(in, static_cast<i64>(in.cursor.done()));
      return;
    }
    REACHED("io_uring: short receive");
    self->submit_receive(op);
    return;
  }
  if (result == -EINTR || result == -EAGAIN) {
    self->submit_receive(op);
    return;
  }
  if (self->shut_down_) {
    self->end(in, -ECANCELED);
    return;
  }
  self->end(in, result < 0 ? result : static_cast<i64>(in.cursor.done()));
}

void UringSocket::receive_some(Operation& op, MutableBytes into) {
  CHECK(!into.empty());
  op.hidden.pointers[0] = this;
  const iovec piece{into.data(), into.size()};
  in_.begin(op, {&piece, 1});
  io_uring_sqe* sqe = env_.ring().next();
  io_uring_prep_recv(sqe, fd_.get(), into.data(), into.size(), 0);
  env_.ring().track(sqe, op, on_received_some);
}

void UringSocket::on_received_some(Operation& op, i32 result) {
  auto* self = static_cast<UringSocket*>(op.hidden.pointers[0]);
  if (result == -EINTR || result == -EAGAIN) {
    const iovec piece = self->in_.cursor.next()[0];
    self->in_.running = nullptr;
    self->receive_some(op, {static_cast<std::byte*>(piece.iov_base), piece.iov_len});
    return;
  }
  self->end(self->in_, result <= 0 && self->shut_down_ ? -ECANCELED : result);
}

i64 UringSocket::receive_now(std::span<const iovec> pieces) {
  CHECK_NOTE(in_.running == nullptr, "two operations at once on one direction of a socket");
  return shut_down_ ? -ECANCELED : receive_without_waiting(fd_.get(), pieces);
}

void UringSocket::send(Operation& op, std::span<const iovec> pieces) {
  op.hidden.pointers[0] = this;
  out_.begin(op, pieces);
  if (out_.cursor.finished()) {
    out_.running = nullptr;
    env_.complete_later(op, 0);
    return;
  }
  submit_send(op);
}

void UringSocket::submit_send(Operation& op) {
  // MSG_WAITALL: the kernel itself goes on after a part, as far as it can.
  constexpr int kFlags = MSG_NOSIGNAL | MSG_WAITALL;
  const std::span<iovec> pieces = out_.cursor.next();
  io_uring_sqe* sqe = env_.ring().next();
  if (pieces.size() == 1) {
    io_uring_prep_send(sqe, fd_.get(), pieces[0].iov_base, pieces[0].iov_len, kFlags);
  } else {
    out_.header.msg_iov = pieces.data();
    out_.header.msg_iovlen = pieces.size();
    io_uring_prep_sendmsg(sqe, fd_.get(), &out_.header, kFlags);
  }
  env_.ring().track(sqe, op, on_sent);
}

void UringSocket::on_sent(Operation& op, i32 result) {
  auto* self = static_cast<UringSocket*>(op.hidden.pointers[0]);
  Direction& out = self->out_;
  if (result == -EINTR || result == -EAGAIN) {
    self->submit_send(op);
    return;
  }
  if (result < 0) {
    self->end(out, self->shut_down_ ? -ECANCELED : result);
    return;
  }
  out.cursor.advance(static_cast<u64>(result));
  if (out.cursor.finished()) {
    self->end(out, static_cast<i64>(out.cursor.done()));
    return;
  }
  REACHED("io_uring: short send");
  self->submit_send(op);
}

void UringSocket::shutdown() {
  shut_down_ = true;
  ::shutdown(fd_.get(), SHUT_RDWR);
}

void UringListener::accept(Operation& op, std::unique_ptr<Socket>& into) {
  CHECK_NOTE(running_ == nullptr, "two accepts at once on one listener");
  if (shut_down_) {
    env_.complete_later(op, -ECANCELED);
    return;
  }
  running_ = &op;
  op.hidden.pointers[0] = this;
  op.hidden.pointers[1] = &into;
  submit(op);
}

void UringListener::submit(Operation& op) {
  from_.size = sizeof from_.storage;
  io_uring_sqe* sqe = env_.ring().next();
  io_uring_prep_accept(sqe, fd_.get(), from_.get(), &from_.size, SOCK_CLOEXEC);
  env_.ring().track(sqe, op, on_accepted);
}

void UringListener::on_accepted(Operation& op, i32 result) {
  auto* self = static_cast<UringListener*>(op.hidden.pointers[0]);
  if (result >= 0) {
    *static_cast<std::unique_ptr<Socket>*>(op.hidden.pointers[1]) =
        std::make_unique<UringSocket>(self->env_, Fd(result), from_socket_address(self->from_));
    result = 0;
  } else if (self->shut_down_) {
    result = -ECANCELED;
  } else if (result == -EINTR || result == -EAGAIN || result == -ECONNABORTED) {
    self->submit(op);
    return;
  }
  self->running_ = nullptr;
  op.done(&op, result);
}

void UringListener::shutdown() {
  if (std::exchange(shut_down_, true)) {
    return;
  }
  ::shutdown(fd_.get(), SHUT_RDWR);  // also refuses those who wait in the queue
  if (running_ != nullptr) {
    env_.ring().cancel(*running_);
  }
}

}  // namespace pangu::env
