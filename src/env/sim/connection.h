#pragma once
#include <array>

#include "env/sim/net.h"
#include "env/sim/node.h"

// The insides of the simulated network: what a connection is, and the socket and listener objects
// that stand for its ends.
namespace pangu::env::sim {

// One direction of a connection. Offsets count bytes since it opened:
// consumed <= delivered <= sent.
struct Stream {
  ByteRing bytes;  // [consumed, sent)
  u64 window = 0;
  u64 consumed = 0;
  u64 delivered = 0;
  u64 sent = 0;
  bool fin_sent = false;
  bool fin_arrived = false;
  Instant last_arrival;  // of the segments scheduled so far: none overtakes another

  Operation* send_op = nullptr;
  std::span<const iovec> send_pieces;
  size_t send_piece = 0;
  u64 send_offset = 0;
  u64 send_total = 0;
  bool unblock_scheduled = false;

  Operation* receive_op = nullptr;
  bool receive_some = false;
  std::array<iovec, kPiecesMax> receive_pieces;
  size_t receive_count = 0;
  size_t receive_piece = 0;
  u64 receive_offset = 0;
  u64 receive_total = 0;

  // Reached its place while the link was cut.
  u64 parked_upto = 0;
  bool parked_fin = false;
  bool parked_unblock = false;
  bool timeout_watched = false;
  Instant timeout_at;
};

struct End {
  enum class State : u8 {
    none,  // not yet
    open,
    shut,    // shutdown(): nothing more comes or goes
    closed,  // no socket any more: arriving bytes are answered with a reset
    silent,  // its host lost power: arriving bytes are answered only once it is back
  };
  State state = State::none;
  Node* node = nullptr;
  SimEnv* env = nullptr;
  Address address;
  int error = 0;  // of a reset or timeout that arrived
  int parked_reset = 0;
  bool usable() const { return state == State::open && error == 0; }
};

// streams[i] goes from ends[i] to ends[1 - i]; ends[0] is the one that connected.
struct Connection : ListNode {
  Network* net = nullptr;
  std::array<End, 2> ends;
  std::array<Stream, 2> streams;
  u32 references = 0;  // sockets, a listener's queue, events, a connect under way
  Operation* connect_op = nullptr;
  std::unique_ptr<Socket>* connect_into = nullptr;
  Instant connect_deadline;
  u32 connect_tries = 0;
};

class SimSocket final : public Socket {
 public:
  SimSocket(Connection& connection, size_t end);
  ~SimSocket() override;
  void receive(Operation& op, std::span<const iovec> pieces) override;
  void receive_some(Operation& op, MutableBytes into) override;
  i64 receive_now(std::span<const iovec> pieces) override;
  void send(Operation& op, std::span<const iovec> pieces) override;
  void shutdown() override;
  Address peer() const override { return connection_.ends[1 - end_].address; }

 private:
  void start_receive(Operation& op, std::span<const iovec> pieces, bool some);
  void aim(std::span<const iovec> pieces, bool some);
  End& end() { return connection_.ends[end_]; }
  Stream& outgoing() { return connection_.streams[end_]; }
  Stream& incoming() { return connection_.streams[1 - end_]; }

  Connection& connection_;
  Network& net_;
  SimEnv& env_;
  size_t end_;
};

class SimListener final : public Listener {
 public:
  SimListener(Network& net, SimEnv& env, const Address& address)
      : net_(net), env_(env), address_(address) {}
  ~SimListener() override;
  void accept(Operation& op, std::unique_ptr<Socket>& into) override;
  void shutdown() override;
  Address address() const override { return address_; }

 private:
  friend class Network;
  static constexpr size_t kBacklogMax = 128;
  void hand_over();
  void leave();

  Network& net_;
  SimEnv& env_;
  Address address_;
  bool open_ = true;
  Operation* accept_op_ = nullptr;
  std::unique_ptr<Socket>* accept_into_ = nullptr;
  std::vector<Connection*> backlog_;
};

}  // namespace pangu::env::sim
