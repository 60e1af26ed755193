#pragma once
#include <deque>
#include <memory>

#include "client/chunk_place.h"
#include "rpc/channel.h"
#include "runtime/reactor.h"
#include "wire/data_plane.h"

// The sending of one chunk's runs to one of its replicas: in order, several in flight, and from
// where the replica stands again after a refusal (go-back-N).
//
// Invariants
// 1. durable() never exceeds what this link has sent.
// 2. The bytes and unit boundaries sent at an offset are always the same (PROTOCOL 4): a resend may
//    begin at a later unit of a run, never cut it anew.
namespace pangu::client {

class ChunkWriter;

// Units cut once for one chunk. The slice is shared by every send of it.
struct Run {
  u32 offset = 0;  // payload offset in the chunk
  u32 length = 0;  // payload bytes
  u32 unit_index = 0;
  u32 unit_count = 0;
  Slice units;
  u32 end() const { return offset + length; }
};

class ReplicaLink {
 public:
  ReplicaLink(ChunkWriter& chunk, size_t index);

  // Sends what may be sent. Call after a run was added.
  void pump();
  // The chunk was left: sends nothing more.
  void stop();

  u32 durable() const { return durable_; }
  // It failed and has stored nothing since.
  bool failing() const { return troubled_ || lost(); }
  bool lost() const { return state_ == State::lost; }
  // It can never catch up because what it lacks is not kept any longer.
  void give_up();

 private:
  friend class ChunkWriter;
  enum class State : u8 {
    active,
    resting,  // failed; tries again when the alarm rings
    lost,     // takes no more of this chunk
  };
  struct Flight {
    u64 number = 0;
    u32 offset = 0;
    u32 end = 0;
    bool answered = false;
    std::optional<Error> error;  // answered with it
    u32 length = 0;              // the length that came with kGap
  };
  struct Alarm : Timer {
    ReplicaLink* owner;
    explicit Alarm(ReplicaLink* o);
  };

  void send(const Run& run);
  // A coroutine: keeps the chunk alive until the answer is there.
  Task<void> exchange(std::shared_ptr<ChunkWriter> chunk, Run run, u64 number);
  void on_answer(u64 number, Result<rpc::Response> response);
  // Whether durable() grew.
  bool take_durable(u32 length);
  // Acts on the oldest flights that are answered.
  void settle_flights();
  void on_refused(const Flight& flight);
  // Sends from `offset` on again, after `pause` if it is not zero.
  void resend_from(u32 offset, Duration pause);
  void fail(const Error& error, State into);

  ChunkWriter& chunk_;
  const size_t index_;
  State state_ = State::active;
  bool stopped_ = false;
  bool troubled_ = false;  // failed, and nothing became durable since
  u32 durable_ = 0;
  u32 next_ = 0;      // payload offset from which the next send begins
  u32 sent_end_ = 0;  // the furthest end ever sent
  u64 next_flight_ = 1;
  std::deque<Flight> flights_;  // in order of sending
  u32 gaps_in_a_row_ = 0;
  Duration pause_;  // the next rest after a failure
  Instant busy_since_ = Instant::never();
  Alarm alarm_{this};
};

}  // namespace pangu::client
