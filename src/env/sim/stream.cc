#include <cerrno>

#include "base/reached.h"
#include "env/sim/connection.h"
#include "env/sim/world.h"

// How bytes travel along a connection, and how its ends come to know of the other's fate.
namespace pangu::env::sim {

namespace {
constexpr u64 kFin = 2;     // in Event::a, beside the sending end
constexpr u64 kForced = 2;  // of a reset: comes from nowhere, no cut link holds it back
constexpr Duration kProbe = milliseconds(700);
}  // namespace

void Network::progress_send(Connection& connection, size_t sender) {
  Stream& stream = connection.streams[sender];
  SimEnv& env = *connection.ends[sender].env;
  const u64 before = stream.sent;
  while (stream.send_piece < stream.send_pieces.size()) {
    const iovec& piece = stream.send_pieces[stream.send_piece];
    const u64 room = stream.window - std::min(stream.window, stream.sent - stream.consumed);
    const u64 part = std::min<u64>(piece.iov_len - stream.send_offset, room);
    if (part == 0 && piece.iov_len > stream.send_offset) {
      break;
    }
    stream.bytes.push({static_cast<const std::byte*>(piece.iov_base) + stream.send_offset, part});
    stream.sent += part;
    stream.send_offset += part;
    stream.send_total += part;
    if (stream.send_offset == piece.iov_len) {
      ++stream.send_piece;
      stream.send_offset = 0;
    }
  }
  if (stream.sent > before) {
    schedule_segments(connection, sender, before, false);
    const double reset_rate = world_.options().net.reset_rate;
    if (reset_rate > 0 && world_.prng().chance(reset_rate)) {
      reset(connection);
    }
  }
  if (stream.send_op != nullptr && stream.send_piece == stream.send_pieces.size()) {
    env.complete_soon(*std::exchange(stream.send_op, nullptr), static_cast<i64>(stream.send_total));
  }
}

void Network::schedule_segments(Connection& connection, size_t sender, u64 from, bool fin) {
  Stream& stream = connection.streams[sender];
  Prng& prng = world_.prng();
  const u64 size = stream.sent - from;
  const Instant start = connection.ends[sender].env->start_time();
  u64 pieces = 1;
  if (size > 1 && prng.chance(world_.options().net.split_rate)) {
    pieces = prng.between(2, 3);
  }
  u64 upto = from;
  for (u64 i = 0; i < pieces; ++i) {
    const u64 next = i + 1 == pieces ? stream.sent : upto + prng.below(stream.sent - upto + 1);
    const Instant left = leave_wire(connection, sender, start, next - upto);
    upto = next;
    stream.last_arrival = std::max(stream.last_arrival, left + draw_latency(connection, sender));
    Event& event =
        schedule(connection, sender, stream.last_arrival - start, EventKind::deliver, fire_deliver);
    event.a = sender | (fin && i + 1 == pieces ? kFin : 0);
    event.b = upto;
  }
}

// When the last of `bytes` that are sent at `start` is on its way.
Instant Network::leave_wire(const Connection& connection, size_t sender, Instant start, u64 bytes) {
  const u64 rate = world_.options().net.bytes_per_second;
  if (rate == 0) {
    return start;
  }
  Link& link = link_of(connection, sender);
  const Duration transfer{static_cast<i64>(bytes * 1'000'000'000 / rate)};
  link.wire_free = std::max(link.wire_free, start) + transfer;
  return link.wire_free;
}

void Network::fire_deliver(World& world, Event& event) {
  Connection& connection = *static_cast<Connection*>(event.object);
  world.net().deliver(connection, event.a & 1, event.b, (event.a & kFin) != 0);
  world.net().release(connection);
}

void Network::deliver(Connection& connection, size_t sender, u64 upto, bool fin) {
  Stream& stream = connection.streams[sender];
  const End& receiver = connection.ends[1 - sender];
  if (link_of(connection, sender).blocked()) {
    stream.parked_upto = std::max(stream.parked_upto, upto);
    stream.parked_fin = stream.parked_fin || fin;
    watch_for_timeout(connection, sender);
    return;
  }
  if (receiver.state == End::State::silent && !receiver.node->powered()) {
    watch_for_timeout(connection, sender);
    return;
  }
  if (receiver.state != End::State::open) {
    if (upto > stream.delivered || receiver.state == End::State::silent) {
      REACHED("sim net: bytes arrived at a closed end");
      send_reset(connection, sender, ECONNRESET);
    }
    return;
  }
  if (receiver.error != 0) {
    return;
  }
  stream.delivered = std::max(stream.delivered, upto);
  stream.fin_arrived = stream.fin_arrived || fin;
  progress_receive(connection, sender);
}

// Moves what has arrived to where the receiver wants it, as far as there is room.
void Network::take_arrived(Connection& connection, size_t sender) {
  Stream& stream = connection.streams[sender];
  u64 usable = stream.delivered - stream.consumed;
  if (stream.receive_some && usable > 1 &&
      world_.prng().chance(world_.options().net.partial_rate)) {
    usable = world_.prng().between(1, usable);
  }
  const u64 before = stream.consumed;
  while (usable > 0 && stream.receive_piece < stream.receive_count) {
    const iovec& piece = stream.receive_pieces[stream.receive_piece];
    const u64 part = std::min<u64>(piece.iov_len - stream.receive_offset, usable);
    stream.bytes.pop({static_cast<std::byte*>(piece.iov_base) + stream.receive_offset, part});
    usable -= part;
    stream.consumed += part;
    stream.receive_offset += part;
    stream.receive_total += part;
    if (stream.receive_offset == piece.iov_len) {
      ++stream.receive_piece;
      stream.receive_offset = 0;
    }
  }
  if (stream.consumed > before && stream.send_op != nullptr && !stream.unblock_scheduled) {
    stream.unblock_scheduled = true;
    schedule(connection, 1 - sender, draw_latency(connection, 1 - sender), EventKind::unblock,
             fire_unblock);
  }
}

void Network::progress_receive(Connection& connection, size_t sender) {
  Stream& stream = connection.streams[sender];
  if (stream.receive_op == nullptr) {
    return;
  }
  take_arrived(connection, sender);
  const End& receiver = connection.ends[1 - sender];
  const bool full = stream.receive_piece == stream.receive_count;
  const bool ended = stream.fin_arrived && stream.consumed == stream.sent;
  i64 result = static_cast<i64>(stream.receive_total);
  if (!full && !ended && !(stream.receive_some && stream.receive_total > 0)) {
    if (receiver.error == 0) {
      return;
    }
    result = -receiver.error;
  }
  receiver.env->complete_soon(*std::exchange(stream.receive_op, nullptr), result);
}

i64 Network::receive_now(Connection& connection, size_t sender) {
  const Stream& stream = connection.streams[sender];
  take_arrived(connection, sender);
  if (stream.receive_total > 0) {
    return static_cast<i64>(stream.receive_total);
  }
  const End& receiver = connection.ends[1 - sender];
  if (stream.fin_arrived && stream.consumed == stream.sent) {
    return 0;
  }
  return receiver.error == 0 ? -EAGAIN : -receiver.error;
}

void Network::fire_unblock(World& world, Event& event) {
  Network& net = world.net();
  Connection& connection = *static_cast<Connection*>(event.object);
  const size_t sender = 1 - event.a;
  Stream& stream = connection.streams[sender];
  if (net.link_of(connection, event.a).blocked()) {
    stream.parked_unblock = true;
    net.watch_for_timeout(connection, sender);
  } else {
    stream.unblock_scheduled = false;
    if (stream.send_op != nullptr && connection.ends[sender].usable()) {
      net.progress_send(connection, sender);
    }
  }
  net.release(connection);
}

// What was held back by the link from `sender` to its peer goes out again.
void Network::resend_parked(Connection& connection, size_t sender) {
  Stream& stream = connection.streams[sender];
  const u64 late = static_cast<u64>(world_.options().net.retransmit_max.ns) + 1;
  const auto delay = [&] {
    return draw_latency(connection, sender) + Duration{static_cast<i64>(world_.prng().below(late))};
  };
  if (stream.parked_upto > stream.delivered || stream.parked_fin) {
    REACHED("sim net: bytes that a cut link held back went on");
    Event& event = schedule(connection, sender, delay(), EventKind::deliver, fire_deliver);
    event.a = sender | (stream.parked_fin ? kFin : 0);
    event.b = stream.parked_upto;
    stream.parked_upto = 0;
    stream.parked_fin = false;
  }
  if (End& receiver = connection.ends[1 - sender]; receiver.parked_reset != 0) {
    schedule(connection, 1 - sender, delay(), EventKind::reset, fire_reset).b =
        static_cast<u64>(std::exchange(receiver.parked_reset, 0));
  }
  if (std::exchange(connection.streams[1 - sender].parked_unblock, false)) {
    schedule(connection, sender, delay(), EventKind::unblock, fire_unblock);
  }
}

// The sender's kernel sends again and again and gives up after the user timeout.
void Network::watch_for_timeout(Connection& connection, size_t sender) {
  Stream& stream = connection.streams[sender];
  if (!stream.timeout_watched) {
    stream.timeout_watched = true;
    stream.timeout_at = world_.now() + world_.options().net.user_timeout;
    schedule(connection, sender, kProbe, EventKind::timeout, fire_timeout).b = stream.delivered;
  }
}

void Network::fire_timeout(World& world, Event& event) {
  Network& net = world.net();
  Connection& connection = *static_cast<Connection*>(event.object);
  const size_t sender = event.a;
  Stream& stream = connection.streams[sender];
  const End& receiver = connection.ends[1 - sender];
  const bool dark = receiver.state == End::State::silent && !receiver.node->powered();
  const Link& there = net.link_of(connection, sender);
  const Link& back = net.link_of(connection, 1 - sender);
  const bool stuck = there.blocked() || (back.blocked() && stream.parked_unblock);
  stream.timeout_watched = false;
  if (!connection.ends[sender].usable()) {
    // Nobody waits for it.
  } else if (dark || stuck) {
    if (there.hung || back.hung || world.now() < stream.timeout_at) {
      stream.timeout_watched = true;
      net.schedule(connection, sender, kProbe, EventKind::timeout, fire_timeout);
    } else {
      REACHED("sim net: a connection timed out");
      ++net.counters_.timeouts;
      net.send_reset(connection, 1 - sender, ECONNRESET);
      net.fail_end(connection, sender, ETIMEDOUT);
    }
  } else if (receiver.state == End::State::silent) {  // its host is back and knows nothing
    net.send_reset(connection, sender, ECONNRESET);
  }
  net.release(connection);
}

void Network::shut(Connection& connection, size_t end) {
  End& me = connection.ends[end];
  Stream& out = connection.streams[end];
  Stream& in = connection.streams[1 - end];
  if (me.state != End::State::open) {
    return;
  }
  me.state = End::State::shut;
  if (out.send_op != nullptr) {
    me.env->complete_soon(*std::exchange(out.send_op, nullptr), -EPIPE);
  }
  if (in.receive_op != nullptr) {
    me.env->complete_soon(*std::exchange(in.receive_op, nullptr), -ECANCELED);
  }
  if (me.error == 0) {
    out.fin_sent = true;
    schedule_segments(connection, end, out.sent, true);
    if (in.sent > in.consumed) {  // the peer sends what nobody will read
      send_reset(connection, 1 - end, ECONNRESET);
    }
  }
}

void Network::close(Connection& connection, size_t end) {
  shut(connection, end);
  if (connection.ends[end].state == End::State::shut) {
    connection.ends[end].state = End::State::closed;
  }
}

void Network::send_reset(Connection& connection, size_t to_end, int error) {
  // Not before what was sent in front of it.
  Stream& stream = connection.streams[1 - to_end];
  const Duration latency = draw_latency(connection, 1 - to_end);
  const Instant when = std::max(world_.now() + latency, stream.last_arrival);
  Event& event = schedule(connection, to_end, when - world_.now(), EventKind::reset, fire_reset);
  event.b = static_cast<u64>(error);
}

void Network::fire_reset(World& world, Event& event) {
  Network& net = world.net();
  Connection& connection = *static_cast<Connection*>(event.object);
  const size_t end = event.a & 1;
  const int error = static_cast<int>(event.b);
  if ((event.a & kForced) == 0 && net.link_of(connection, 1 - end).blocked()) {
    connection.ends[end].parked_reset = error;
  } else {
    net.fail_end(connection, end, error);
  }
  net.release(connection);
}

void Network::fail_end(Connection& connection, size_t end, int error) {
  End& me = connection.ends[end];
  if (!me.usable()) {
    return;
  }
  ++counters_.resets;
  me.error = error;
  Stream& out = connection.streams[end];
  if (out.send_op != nullptr) {
    me.env->complete_soon(*std::exchange(out.send_op, nullptr), -error);
  }
  progress_receive(connection, 1 - end);
}

void Network::reset(Connection& connection) {
  if (connection.ends[1].env == nullptr) {
    return;  // not connected yet
  }
  REACHED("sim net: a connection was reset");
  for (size_t sender = 0; sender < 2; ++sender) {
    Stream& stream = connection.streams[sender];
    if (connection.ends[1 - sender].usable() && !link_of(connection, sender).blocked()) {
      stream.delivered += world_.prng().below(stream.sent - stream.delivered + 1);
      progress_receive(connection, sender);
    }
    const u64 delay = world_.prng().below(static_cast<u64>(milliseconds(1).ns));
    Event& event = schedule(connection, sender, Duration{static_cast<i64>(delay)}, EventKind::reset,
                            fire_reset);
    event.a = sender | kForced;
    event.b = ECONNRESET;
  }
}

}  // namespace pangu::env::sim
