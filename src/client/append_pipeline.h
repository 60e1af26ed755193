#pragma once
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "client/append_queue.h"
#include "client/chunk_writer.h"
#include "client/stream_cache.h"
#include "client/stream_chores.h"

// One writer of one stream in one epoch: its appends, the chunk it is on, the spares it may move
// to.
//
// Invariants
// 1. An append is acknowledged when it and all before it are durable on copies_min replicas of the
//    current chunk (PROTOCOL 11).
// 2. A new chunk's base is the acknowledged offset at the instant of the move; everything from
// there
//    on is sent again, nothing below it ever is (PROTOCOL 12).
// 3. Chunks are used in list order, only those the service listed for this epoch (PROTOCOL 13, 14).
// 4. Once fenced, or past an append's deadline, it is over: what was not acknowledged fails with
//    kUnknownOutcome and no new epoch is asked for (PROTOCOL 17).
namespace pangu::client {

class AppendPipeline : public std::enable_shared_from_this<AppendPipeline> {
 public:
  // `path` is for messages only. `start`: where the stream ends. `fresh`: what may be written to.
  static std::shared_ptr<AppendPipeline> make(ClientCore& core, std::string path, FileId file,
                                              Epoch epoch, u64 start,
                                              std::vector<ChunkPlace> fresh);
  AppendPipeline(ClientCore& core, std::string path, FileId file, Epoch epoch, u64 start);
  ~AppendPipeline();

  // Everything up to here is acknowledged.
  u64 length() const { return queue_.acked(); }
  // The offset that the next append will get.
  u64 end() const { return queue_.end(); }
  Epoch epoch() const { return epoch_; }
  FileId file() const { return file_; }

  // Returns the offset of the first byte once all are acknowledged. `bytes` stay in place until
  // then.
  Task<Result<u64>> append(Bytes bytes, std::optional<u64> expected, bool record);
  // Waits for room in the window only; `bytes` are kept alive by this. Failure shows in drain().
  Task<Status> enqueue(Slice bytes, bool record);
  // Waits until all that was appended before is acknowledged.
  Task<Status> drain();
  // Drains, settles every chunk, gives spares back. Nothing can be appended afterwards, whatever it
  // returns.
  Task<Status> close();
  // The same, and makes the file immutable. Returns its length.
  Task<Result<u64>> seal();
  // Ends it at once: un-acknowledged appends fail with kUnknownOutcome because of `cause`.
  void fail(Error cause);

  // For readers of the same client: they see what it has acknowledged without asking anybody.
  void tell(StreamView& view) const;

  // From its parts.
  void on_progress();
  void on_trouble(const Error& error);
  void on_fenced(u32 fence);
  void on_wrong_epoch();
  void on_settled(u32 sequence);
  void wake_waiters() { waiters_.wake_all(); }

 private:
  enum class Move : u8 { first, full, failure };
  struct Alarm : Timer {
    AppendPipeline* owner;
    explicit Alarm(AppendPipeline* o);
  };
  struct Enqueued;  // an append that nobody waits for

  // append_pipeline.cc: appends in, acknowledgements out.
  Status check_open() const;
  Status check_append(Bytes bytes, bool record) const;
  Task<Status> take_window(u64 bytes);
  void submit(PendingAppend& append);
  void pump();
  bool step();
  bool may_cut();
  void on_deadline();
  void count_acknowledged(const PendingAppend& append, Instant now);

  // switch.cc: the way to the next chunk, and the spares.
  bool move_on(Move why);
  std::optional<ChunkPlace> take_spare(u32 suspects_max);
  std::optional<ChunkPlace> choose_spare(Move why);
  u32 suspects_in(const ChunkPlace& place);
  void leave_current();
  void refill_spares();
  Task<void> allocate(std::shared_ptr<AppendPipeline> keep, u32 count);
  Task<Status> allocate_once(u32 count);
  bool adopt_spares(std::vector<ChunkPlace> chunks);

  // settle.cc: close and seal.
  Status begin_closing();
  Task<Status> quiesce(Instant deadline);
  Task<Status> wait_for_chores(Instant deadline);
  std::vector<pb::Decision> final_decisions() const;

  ClientCore& core_;
  const std::string path_;
  const FileId file_;
  const Epoch epoch_;
  AppendQueue queue_;
  std::shared_ptr<ChunkWriter> current_;  // calls in flight have shares too
  std::deque<ChunkPlace> spares_;         // in list order
  u32 last_sequence_ = 0;                 // the highest listed so far
  std::vector<ChunkUse> history_;         // used before the current chunk and not settled yet
  StreamChores chores_;
  bool pumping_ = false;
  bool acknowledged_since_cut_ = false;
  bool allocating_ = false;
  bool closing_ = false;
  Instant refill_not_before_;
  std::optional<Error> failure_;  // over
  std::optional<Error> lost_;     // what became of the appends that were in flight when it ended
  std::optional<Error> last_trouble_;
  Instant trouble_since_ = Instant::never();  // until the first acknowledgement after a move
  WaitList waiters_;                          // for progress of any kind
  Alarm deadline_alarm_{this};
};

}  // namespace pangu::client
