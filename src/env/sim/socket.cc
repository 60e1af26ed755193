#include <cerrno>

#include "env/sim/connection.h"
#include "env/sim/world.h"

// The sockets and listeners that a process holds.
namespace pangu::env::sim {

SimSocket::SimSocket(Connection& connection, size_t end)
    : connection_(connection), net_(*connection.net), env_(*connection.ends[end].env), end_(end) {
  ++connection.references;
}

SimSocket::~SimSocket() {
  if (env_.alive()) {
    CHECK_NOTE(outgoing().send_op == nullptr && incoming().receive_op == nullptr,
               "a socket was destroyed with an operation in flight");
    net_.close(connection_, end_);
  }
  net_.release(connection_);
}

void SimSocket::start_receive(Operation& op, std::span<const iovec> pieces, bool some) {
  if (!env_.alive()) {
    return;
  }
  Stream& stream = incoming();
  CHECK_NOTE(stream.receive_op == nullptr, "one receive at a time");
  CHECK(pieces.size() <= kPiecesMax);
  if (end().state != End::State::open) {
    env_.complete_soon(op, -ECANCELED);
    return;
  }
  stream.receive_op = &op;
  aim(pieces, some);
  net_.progress_receive(connection_, 1 - end_);
}

// Where the next bytes of the incoming stream go.
void SimSocket::aim(std::span<const iovec> pieces, bool some) {
  Stream& stream = incoming();
  stream.receive_some = some;
  std::copy(pieces.begin(), pieces.end(), stream.receive_pieces.begin());
  stream.receive_count = pieces.size();
  stream.receive_piece = 0;
  while (stream.receive_piece < stream.receive_count &&
         stream.receive_pieces[stream.receive_piece].iov_len == 0) {
    ++stream.receive_piece;
  }
  stream.receive_offset = 0;
  stream.receive_total = 0;
}

i64 SimSocket::receive_now(std::span<const iovec> pieces) {
  if (!env_.alive()) {
    return -EAGAIN;
  }
  CHECK_NOTE(incoming().receive_op == nullptr, "one receive at a time");
  CHECK(pieces.size() <= kPiecesMax);
  if (end().state != End::State::open) {
    return -ECANCELED;
  }
  aim(pieces, true);
  return net_.receive_now(connection_, 1 - end_);
}

void SimSocket::receive(Operation& op, std::span<const iovec> pieces) {
  start_receive(op, pieces, false);
}

void SimSocket::receive_some(Operation& op, MutableBytes into) {
  const iovec piece{into.data(), into.size()};
  start_receive(op, {&piece, 1}, true);
}

void SimSocket::send(Operation& op, std::span<const iovec> pieces) {
  if (!env_.alive()) {
    return;
  }
  Stream& stream = outgoing();
  CHECK_NOTE(stream.send_op == nullptr, "one send at a time");
  if (!end().usable()) {
    env_.complete_soon(op, end().error == 0 ? -EPIPE : -end().error);
    return;
  }
  stream.send_op = &op;
  stream.send_pieces = pieces;
  stream.send_piece = 0;
  stream.send_offset = 0;
  stream.send_total = 0;
  ++net_.counters_.sends;
  for (const iovec& piece : pieces) {
    net_.counters_.bytes += piece.iov_len;
  }
  net_.progress_send(connection_, end_);
}

void SimSocket::shutdown() {
  if (env_.alive()) {
    net_.shut(connection_, end_);
  }
}

SimListener::~SimListener() {
  CHECK_NOTE(accept_op_ == nullptr || !env_.alive(),
             "a listener was destroyed with an accept in flight");
  leave();
}

void SimListener::accept(Operation& op, std::unique_ptr<Socket>& into) {
  if (!env_.alive()) {
    return;
  }
  CHECK_NOTE(accept_op_ == nullptr, "one accept at a time");
  if (!open_) {
    env_.complete_soon(op, -ECANCELED);
    return;
  }
  accept_op_ = &op;
  accept_into_ = &into;
  hand_over();
}

void SimListener::hand_over() {
  if (accept_op_ == nullptr || backlog_.empty()) {
    return;
  }
  Connection& connection = *backlog_.front();
  backlog_.erase(backlog_.begin());
  *accept_into_ = std::make_unique<SimSocket>(connection, 1);
  net_.release(connection);
  env_.complete_soon(*std::exchange(accept_op_, nullptr), 0);
}

void SimListener::shutdown() {
  if (env_.alive() && accept_op_ != nullptr) {
    env_.complete_soon(*std::exchange(accept_op_, nullptr), -ECANCELED);
  }
  leave();
}

// The port is free again; connections that nobody accepted are closed.
void SimListener::leave() {
  if (!std::exchange(open_, false)) {
    return;
  }
  net_.listeners_.erase({env_.node().index(), address_.port});
  for (Connection* connection : std::exchange(backlog_, {})) {
    if (env_.alive()) {
      net_.close(*connection, 1);
    }
    net_.release(*connection);
  }
}

}  // namespace pangu::env::sim
