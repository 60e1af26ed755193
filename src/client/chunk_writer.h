#pragma once
#include <deque>
#include <memory>
#include <vector>

#include "client/client_core.h"
#include "client/replica_link.h"

// One chunk that a writer is on: its runs, cut once, and a link to each replica. Tells its pipeline
// what became durable and what failed.
//
// Invariants
// 1. acked_length() is durable on at least copies_min replicas of this chunk (PROTOCOL 11).
// 2. After leave() it calls its pipeline no more, whatever the replicas say (PROTOCOL 12).
// 3. A run is kept until every replica that is not lost has it, or the chunk was left.
namespace pangu::client {

struct ChunkUse {  // a chunk this writer used, not settled yet as far as it knows
  u32 sequence = 0;
  u64 base = 0;
};

// Its shares: the pipeline's, while it is the current chunk, and one of every call in flight, whose
// answer may come long after the chunk was left.
class ChunkWriter : public std::enable_shared_from_this<ChunkWriter> {
 public:
  // `history`: the unsettled chunks this writer used before.
  ChunkWriter(ClientCore& core, AppendPipeline& pipeline, ChunkPlace place, u64 base,
              const std::vector<ChunkUse>& history);
  ~ChunkWriter();

  const ChunkPlace& place() const { return place_; }
  u64 base() const { return base_; }
  u32 cut_length() const { return cut_length_; }
  u32 acked_length() const { return acked_length_; }
  u32 room() const { return place_.limit - cut_length_; }
  // Runs that are not acknowledged yet.
  size_t runs_in_flight() const { return runs_.size() - runs_acked_; }
  u64 retained_bytes() const { return retained_bytes_; }
  // Whether every replica that has not failed has everything.
  bool settled_down() const;
  // Whether nothing of it was ever sent.
  bool untouched() const { return cut_length_ == 0; }
  u32 failing_links() const;
  // Servers that do not hold everything: for REPORT.
  std::vector<ServerId> lagging_servers() const;

  // Who has how much, for people: "chunk 0x….: server 1 has 4096 of 8192, failed; server 2 …".
  std::string describe() const;

  // Cuts the pieces into a run and sends it to all. REQUIRES: they fit room() and kRunDataMax.
  void append_run(std::span<const Bytes> pieces, u32 length);
  // Gives up the replicas that failed and have not come back, so that what is kept for them alone
  // can go.
  void give_up_failing_links();
  void leave();

 private:
  friend class ReplicaLink;
  wire::AppendRequest request_of(const Run& run, size_t replica) const;
  std::string with_history(const wire::AppendRequest& request) const;
  void on_durable();
  void on_trouble(ReplicaLink& link, const Error& error);
  void on_fenced(u32 fence);
  void drop_complete_runs();
  // The kept run that holds `offset`, or nullptr.
  const Run* run_at(u32 offset) const;

  ClientCore& core_;
  AppendPipeline* pipeline_;  // nullptr once left
  const ChunkPlace place_;
  const u64 base_;
  std::string history_records_;
  u16 history_count_ = 0;
  u32 cut_length_ = 0;
  u32 units_cut_ = 0;
  u32 acked_length_ = 0;
  u64 retained_bytes_ = 0;
  // Kept runs; the first runs_acked_ of them are acknowledged and kept for late replicas only.
  std::deque<Run> runs_;
  size_t runs_acked_ = 0;
  std::deque<ReplicaLink> links_;  // a link stays where it is made
};

}  // namespace pangu::client
