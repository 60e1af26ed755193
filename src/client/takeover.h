#pragma once
#include <memory>
#include <string>
#include <vector>

#include "client/batch.h"
#include "client/client_core.h"
#include "client/decide.h"

// Makes a stream writable that its last writer left with open chunks: fence, decide, fill, publish
// (PROTOCOL 20 to 28). One object an epoch: answers of an older one are never used.
//
// Invariants
// 1. Nothing is published before every open chunk that counts has its quorum of fences and the last
//    one is known to be held by copies_min locations (PROTOCOL 23, 25).
// 2. The whole decision goes into one PUBLISH (PROTOCOL 26).
namespace pangu::client {

struct TakeoverResult {
  Epoch epoch;
  u64 end = 0;  // of the stream
  std::vector<ChunkPlace> fresh;
};

struct TakeoverGoal {
  u32 fresh_chunks = 0;
  bool seal = false;  // the file becomes immutable with the publish
};

class Takeover : public std::enable_shared_from_this<Takeover> {
 public:
  // `stream`: as OPEN_FOR_APPEND answered it, RECOVERING. Made by make_shared.
  Takeover(ClientCore& core, std::string path, StreamSnapshot stream, Instant deadline);

  // kUndecidable names the locations that must answer first; the stream stays as it is and somebody
  // may try again. kWrongEpoch: another opener came later. kInternal: the answers contradict each
  // other, nothing was changed.
  Task<Result<TakeoverResult>> run(TakeoverGoal goal);

 private:
  struct Silence {
    bool tried = false;
    std::string why = "no answer yet";
    bool unfit = false;  // it did not take a copy: not to be tried until it answers a fence again
  };

  DecideInput input_of(const StreamSnapshot& stream) const;
  const ChunkPlace& place(size_t chunk) const { return stream_.chunks[chunk]; }
  void start_fence(size_t chunk, size_t replica);
  Task<void> fence(std::shared_ptr<Takeover> keep, size_t chunk, size_t replica);
  // True when it needs no second attempt.
  bool take_fence(size_t chunk, size_t replica, Result<DataReply<wire::FenceReply>> reply,
                  Result<std::vector<wire::HistoryEntry>> history);
  bool all_tried() const;

  // takeover.cc: waits for answers until they decide.
  Task<Result<Verdict>> reach_verdict();
  Error undecidable(const Undecided& undecided) const;
  std::string silent_locations(size_t chunk) const;
  Status check_superseded() const;

  // takeover_fill.cc. True: copies_min locations hold it. False: the answers changed, decide again.
  Task<Result<bool>> fill(size_t chunk, u32 length);
  std::optional<size_t> choose_source(size_t chunk, u32 length);
  std::optional<size_t> choose_target(size_t chunk, u32 length);
  Task<Status> copy(size_t chunk, size_t source, size_t target, u32 length);
  Task<Result<DataReply<wire::ReadReply>>> read_units(size_t chunk, size_t source, u32 offset,
                                                      u32 length);
  Status check_units(size_t chunk, const DataReply<wire::ReadReply>& reply, u32 offset,
                     u32 unit_index) const;
  Task<Status> write_units(size_t chunk, size_t target, Slice units, u32 offset, u32 unit_index);
  Task<void> write_run(std::shared_ptr<Takeover> keep, size_t chunk, size_t target, Slice run,
                       u32 offset, u32 length, u32 unit_index, std::shared_ptr<Batch> batch);
  std::string recover_body(size_t chunk, size_t target, u32 offset, u32 length, u32 unit_index,
                           u32 unit_count) const;
  void discard_answer(size_t chunk, size_t replica, std::string why);

  Task<Result<TakeoverResult>> publish(Verdict verdict, TakeoverGoal goal);
  Task<void> finalize(std::shared_ptr<Takeover> keep, ChunkPlace decided, u32 length,
                      size_t replica);

  ClientCore& core_;
  const std::string path_;
  const StreamSnapshot stream_;
  const Instant deadline_;
  DecideInput input_;
  std::vector<std::vector<Silence>> silences_;
  std::optional<u32> superseded_;  // by this epoch (0: unknown)
  bool over_ = false;              // answers are not wanted any more
  WaitList changed_;
};

}  // namespace pangu::client
