#include "raft/driver/transport.h"

#include <fmt/format.h>

#include "base/log.h"
#include "base/reached.h"

namespace pangu::raft {
namespace {

u64 bytes_of(const Message& message) {
  u64 bytes = 128;
  if (const auto* append = message.as<AppendRequest>()) {
    for (const Entry& entry : append->entries) {
      bytes += entry.bytes();
    }
  }
  return bytes;
}

}  // namespace

// ---- calls over rpc ----

Task<Result<rpc::Response>> ChannelPeers::call(env::Address to, wire::Method method,
                                               std::string body, rpc::CallOptions options) {
  if (stopped_) {
    co_return Error(Code::kClosed, "the Raft host was stopped");
  }
  std::unique_ptr<rpc::Channel>& channel = channels_[to];
  if (channel == nullptr) {
    channel = std::make_unique<rpc::Channel>(
        reactor_, pool_, to,
        rpc::ChannelOptions{.identity = identity_, .kind = rpc::ConnectionKind::control});
  }
  rpc::Channel& chosen = *channel;  // channels stay until stop()
  co_return co_await chosen.call(method, as_bytes_of(std::string_view(body)), rpc::Payload{},
                                 options);
}

Task<void> ChannelPeers::stop() {
  stopped_ = true;
  for (auto& [address, channel] : channels_) {
    co_await channel->stop();
  }
}

// ---- the transport ----

Transport::Transport(Reactor& reactor, const TransportOptions& options, PeerCalls& calls,
                     Listener& listener)
    : reactor_(reactor), options_(options), calls_(calls), listener_(listener) {}

void Transport::set_address(NodeId peer, const env::Address& address) {
  peers_[peer].address = address;
}

std::optional<env::Address> Transport::address(NodeId peer) const {
  const auto found = peers_.find(peer);
  return found == peers_.end() ? std::nullopt : found->second.address;
}

void Transport::send(GroupId group, Message message) {
  const NodeId to = message.to;
  Peer& peer = peers_[to];
  const u64 bytes = bytes_of(message);
  if (!peer.address || closing_) {
    ++counters_.lost;
    return;
  }
  const bool full = peer.queue.size() >= options_.queued_messages_max ||
                    peer.queued_bytes + bytes > options_.queued_bytes_max;
  if (full && !peer.queue.empty()) {
    REACHED("raft host: messages for a slow peer were dropped");
    ++counters_.lost;
    return;
  }
  peer.queued_bytes += bytes;
  peer.queue.push_back({group, std::move(message), bytes});
  start_sender(to, peer);
}

void Transport::start_sender(NodeId id, Peer& peer) {
  if (peer.sender_due || peer.senders >= options_.calls_max || peer.queue.empty()) {
    return;
  }
  if (gate_.spawn(reactor_, "raft send", TaskClass::control, send_batches(id))) {
    peer.sender_due = true;
    ++peer.senders;
  }
}

// Takes what is queued and sends it, again and again until nothing is left.
Task<void> Transport::send_batches(NodeId id) {
  Peer& peer = peers_[id];
  peer.sender_due = false;
  while (!peer.queue.empty() && !closing_) {
    BatchWriter batch(envelope_to(id), false);
    while (!peer.queue.empty() && batch.add(peer.queue.front().group, peer.queue.front().message)) {
      peer.queued_bytes -= peer.queue.front().bytes;
      peer.queue.pop_front();
    }
    if (batch.count() == 0) {
      REACHED("raft host: a message is too large for a frame");
      LOG_ERROR("a Raft message to node {} does not fit into a frame and is dropped", id.value());
      peer.queued_bytes -= peer.queue.front().bytes;
      peer.queue.pop_front();
      continue;
    }
    start_sender(id, peer);
    counters_.messages += batch.count();
    const size_t count = batch.count();
    const Instant began = reactor_.now();
    const Status sent = co_await call(id, batch.take(), options_.call_timeout, true);
    if (!sent.ok()) {
      counters_.lost += count;
      on_failed(id, began);
    }
  }
  --peer.senders;
}

Task<Status> Transport::call(NodeId id, std::string body, Duration timeout, bool measured) {
  const std::optional<env::Address> to = peers_[id].address;
  if (!to) {
    co_return Error(Code::kConnectFailed, "its address is not known");
  }
  ++counters_.calls;
  counters_.bytes += body.size();
  rpc::CallOptions options;
  options.task_class = TaskClass::control;
  options.deadline = reactor_.now() + timeout;
  options.measured = measured;
  auto response =
      co_await calls_.call(*to, wire::Method::raft_messages, std::move(body), options);
  if (!response.ok()) {
    co_return std::move(response).error();
  }
  if (response->code != Code::kOk) {
    co_return response->error();
  }
  co_return ok_status();
}

void Transport::drop_queue(Peer& peer) {
  counters_.lost += peer.queue.size();
  peer.queue.clear();
  peer.queued_bytes = 0;
}

// Calls that were in flight together fail together: that is one loss. And a peer that is gone fails
// every call at once: what its groups do about the loss must not be a reason for the next call.
void Transport::on_failed(NodeId id, Instant began) {
  Peer& peer = peers_[id];
  ++counters_.failures;
  const Instant now = reactor_.now();
  if (closing_ || (peer.failed_once &&
                   (began < peer.failed_at || now - peer.failed_at < options_.report_every))) {
    return;
  }
  peer.failed_once = true;
  peer.failed_at = now;
  drop_queue(peer);
  listener_.on_unreachable(id);
}

// ---- watching ----

void Transport::watch(NodeId id) {
  Peer& peer = peers_[id];
  ++peer.watchers;
  if (!peer.watching) {
    peer.watching =
        gate_.spawn(reactor_, "raft watch", TaskClass::control, watch_loop(id));
  }
}

void Transport::unwatch(NodeId id) {
  CHECK(peers_[id].watchers > 0);
  --peers_[id].watchers;
}

Task<void> Transport::watch_loop(NodeId id) {
  Peer& peer = peers_[id];
  while (peer.watchers > 0 && !closing_) {
    const Instant began = reactor_.now();
    BatchWriter batch(envelope_to(id), true);
    const Status held =
        co_await call(id, batch.take(), options_.hold + options_.call_timeout, false);
    if (closing_) {
      break;
    }
    if (!held.ok()) {
      on_failed(id, began);
    }
    const Instant next = began + (held.ok() ? options_.hold / 2 : options_.retry);
    if (reactor_.now() < next) {
      co_await closing_list_.wait(next);
    }
  }
  peer.watching = false;
}

Task<void> Transport::stop() {
  closing_ = true;
  closing_list_.wake_all();
  co_await gate_.close();
}

}  // namespace pangu::raft
