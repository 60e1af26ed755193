#pragma once
#include <deque>
#include <map>
#include <memory>
#include <optional>

#include "env/env.h"
#include "raft/driver/codec.h"
#include "rpc/channel.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"

// How the messages of all groups of a process reach the other processes.
//
// Invariants
// 1. What is sent in one turn to one peer leaves in one call, whatever groups it is of: heartbeats of
//    many groups cost one frame. Calls leave in order; at most calls_max of them are in flight.
// 2. Nothing waits for a peer: a queue that is full loses messages, and a call that fails loses all
//    that is queued. Groups are told of the loss (Listener) and probe.
// 3. One call to each watched peer is always held open there. It ends with the peer's process or
//    within hold + call_timeout of its host's death, also while every group sleeps.
namespace pangu::raft {

// Calls a process by its address.
class PeerCalls {
 public:
  virtual ~PeerCalls() = default;
  // As rpc::Channel::call().
  virtual Task<Result<rpc::Response>> call(env::Address to, wire::Method method, std::string body,
                                           rpc::CallOptions options) = 0;
  // Calls in flight, and new ones, fail soon with kClosed.
  virtual Task<void> stop() = 0;
};

// Over rpc, a control connection a peer.
class ChannelPeers final : public PeerCalls {
 public:
  // `reactor` and `pool` must outlive it.
  ChannelPeers(Reactor& reactor, BufferPool& pool, const rpc::Identity& identity)
      : reactor_(reactor), pool_(pool), identity_(identity) {}
  Task<Result<rpc::Response>> call(env::Address to, wire::Method method, std::string body,
                                   rpc::CallOptions options) override;
  Task<void> stop() override;

 private:
  Reactor& reactor_;
  BufferPool& pool_;
  rpc::Identity identity_;
  std::map<env::Address, std::unique_ptr<rpc::Channel>> channels_;
  bool stopped_ = false;
};

struct TransportOptions {
  Uuid cluster;
  NodeId self;
  u32 calls_max = 4;                   // in flight to one peer
  u64 queued_bytes_max = 32 * kMiB;    // to one peer
  u32 queued_messages_max = 64 * 1024;  // to one peer
  Duration call_timeout = seconds(1);
  Duration hold = seconds(1);
  Duration retry = milliseconds(100);   // after a held call failed
  Duration report_every = milliseconds(50);  // at most so often a peer is said to be unreachable
};

struct TransportCounters {
  u64 calls = 0;
  u64 messages = 0;
  u64 bytes = 0;
  u64 failures = 0;
  u64 lost = 0;  // messages that found no room, no address, or a call that failed
};

class Transport {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // What was sent to it may be lost; its process may be gone.
    virtual void on_unreachable(NodeId peer) = 0;
  };

  // All of them must outlive the transport.
  Transport(Reactor& reactor, const TransportOptions& options, PeerCalls& calls,
            Listener& listener);

  void set_address(NodeId peer, const env::Address& address);
  std::optional<env::Address> address(NodeId peer) const;

  // Queues the message. Without an address it is lost.
  void send(GroupId group, Message message);
  // A group began or ended to have this peer as a member: see invariant 3.
  void watch(NodeId peer);
  void unwatch(NodeId peer);

  Envelope envelope_to(NodeId peer) const { return {options_.cluster, options_.self, peer}; }
  const TransportOptions& options() const { return options_; }
  const TransportCounters& counters() const { return counters_; }
  // REQUIRES: the PeerCalls are stopped
  Task<void> stop();

 private:
  struct Queued {
    GroupId group;
    Message message;
    u64 bytes = 0;
  };
  struct Peer {
    std::optional<env::Address> address;
    std::deque<Queued> queue;
    u64 queued_bytes = 0;
    u32 senders = 0;
    bool sender_due = false;  // one of them has not begun yet
    u32 watchers = 0;
    bool watching = false;
    Instant failed_at;
    bool failed_once = false;
  };

  void start_sender(NodeId id, Peer& peer);
  Task<void> send_batches(NodeId id);
  Task<Status> call(NodeId id, std::string body, Duration timeout, bool measured);
  Task<void> watch_loop(NodeId id);
  void drop_queue(Peer& peer);
  void on_failed(NodeId id, Instant began);

  Reactor& reactor_;
  TransportOptions options_;
  PeerCalls& calls_;
  Listener& listener_;
  std::map<NodeId, Peer> peers_;  // grows with the ids that were ever named; addresses are stable
  bool closing_ = false;
  WaitList closing_list_;
  Gate gate_;
  TransportCounters counters_;
};

}  // namespace pangu::raft
