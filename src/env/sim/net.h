#pragma once
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/intrusive_list.h"
#include "env/env.h"
#include "env/sim/byte_ring.h"
#include "env/sim/disk.h"
#include "env/sim/event_queue.h"

// The simulated network: TCP byte streams between the nodes of a world.
//
// What holds always: a stream delivers a prefix of what was sent, in order and unchanged.
// Everything else may happen: any delay, any cut into pieces, a reset in the middle of a message,
// silence.
//   - A cut link (cut, partition, isolate) holds back what is sent over it; after heal it arrives.
//   If
//     nothing gets through for user_timeout, the sender's end fails with ETIMEDOUT.
//   - A hung link is a cut link without that timeout.
//   - A process that dies leaves its host's kernel to close (or reset) its connections. A host that
//     loses power says nothing; when it is back, its peers' next bytes are answered with a reset.
//   - Different connections between the same nodes overtake each other freely.
namespace pangu::env::sim {

class World;
class Node;
class SimEnv;
class SimListener;
class SimSocket;
struct Connection;

struct NetOptions {
  // The base latency of each directed link is drawn once in between these.
  Duration latency_min = microseconds(15), latency_max = microseconds(80);
  Duration jitter = microseconds(20);  // added per segment; sometimes up to 16 times as much
  Duration loopback_latency = microseconds(8);
  u64 bytes_per_second = 0;  // of each directed link; 0: no limit
  double slow_rate = 0;      // a segment takes a draw below slow_max more
  Duration slow_max = milliseconds(30);
  double split_rate = 0.15;   // a send arrives in two or three pieces
  double partial_rate = 0.1;  // receive_some gets only a part of what is there
  double reset_rate = 0;      // a send causes a reset of its connection
  // Unread bytes a stream holds: a draw in between, per stream.
  u64 window_min = 64 * kKiB, window_max = 1 * kMiB;
  Duration user_timeout = seconds(8);
  Duration connect_timeout = seconds(4);
  Duration retransmit_max = milliseconds(200);  // after a heal, what was held arrives within this
};

struct NetCounters {
  u64 connections = 0, refused = 0, resets = 0, timeouts = 0;
  u64 sends = 0, bytes = 0;
};

// One direction between two nodes.
struct Link {
  Duration latency = {-1};  // not drawn yet
  Duration extra;           // a slow link
  Instant wire_free;        // when what was sent so far has left, at NetOptions::bytes_per_second
  bool cut = false;
  bool hung = false;
  bool blocked() const { return cut || hung; }
};

class Network {
 public:
  explicit Network(World& world);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  const NetCounters& counters() const { return counters_; }

  // Faults. Each acts on bytes from `from` to `to`, or on both directions where it says so.
  void cut(const Node& from, const Node& to);
  void hang(const Node& from, const Node& to);
  void slow_down(const Node& from, const Node& to, Duration extra);
  void heal(const Node& from, const Node& to);  // undoes cut, hang and slow_down
  void cut_both(const Node& a, const Node& b);
  void heal_both(const Node& a, const Node& b);
  // Cuts, or heals, both directions between `node` and every other node.
  void isolate(const Node& node);
  void reconnect(const Node& node);
  // Cuts both directions between the nodes of `side` and all others.
  void partition(std::span<Node* const> side);
  void heal_all();
  // Resets every connection between two nodes; each stream delivers some prefix of what was under
  // way.
  void reset_connections(const Node& a, const Node& b);
  bool blocked(const Node& from, const Node& to);
  size_t connections_open();

  // From here on: for the parts of env/sim only.
  Result<std::unique_ptr<Listener>> listen(SimEnv& env, const Address& address);
  void connect(SimEnv& env, Operation& op, const Address& to, std::unique_ptr<Socket>& into);
  void process_died(SimEnv& env, Crash how);

 private:
  friend class SimListener;
  friend class SimSocket;
  friend struct Connection;

  Link& link(u32 from, u32 to);
  Link& link_of(const Connection& connection, size_t from_end);
  Duration draw_latency(const Connection& connection, size_t from_end);
  Instant leave_wire(const Connection& connection, size_t sender, Instant start, u64 bytes);
  void heal_link(u32 from, u32 to);
  void resend_parked(Connection& connection, size_t sender);

  Connection& new_connection();
  void release(Connection& connection);  // one reference less
  Event& schedule(Connection& connection, size_t end, Duration delay, EventKind kind,
                  void (*fire)(World&, Event&));

  // A connection's way into being.
  void schedule_syn(Connection& connection, Duration delay);
  static void fire_syn(World& world, Event& event);
  static void fire_syn_ack(World& world, Event& event);
  static void fire_refused(World& world, Event& event);
  Node* resolve(const Connection& connection);
  void try_again_or_give_up(Connection& connection, void (*fire)(World&, Event&));
  void fail_connect(Connection& connection, int error);

  // Streams. `sender` is the end that sends.
  void progress_send(Connection& connection, size_t sender);
  void progress_receive(Connection& connection, size_t sender);
  void take_arrived(Connection& connection, size_t sender);
  i64 receive_now(Connection& connection, size_t sender);
  void schedule_segments(Connection& connection, size_t sender, u64 from, bool fin);
  static void fire_deliver(World& world, Event& event);
  static void fire_unblock(World& world, Event& event);
  void deliver(Connection& connection, size_t sender, u64 upto, bool fin);
  void watch_for_timeout(Connection& connection, size_t sender);
  static void fire_timeout(World& world, Event& event);

  // Ends.
  void shut(Connection& connection, size_t end);
  void close(Connection& connection, size_t end);
  void send_reset(Connection& connection, size_t to_end, int error);
  static void fire_reset(World& world, Event& event);
  void fail_end(Connection& connection, size_t end, int error);
  void reset(Connection& connection);

  World& world_;
  NetCounters counters_;
  std::vector<std::vector<Link>> links_;
  std::map<std::pair<u32, u16>, SimListener*> listeners_;  // (node, port)
  std::map<u32, u16> next_port_;
  IntrusiveList<Connection> connections_;
  std::vector<std::unique_ptr<Connection>> pool_;
  std::vector<Connection*> free_;
};

}  // namespace pangu::env::sim
