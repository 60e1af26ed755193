#pragma once
#include <memory>
#include <string>

#include "client/batch.h"
#include "client/client_core.h"
#include "client/stream_cache.h"

namespace pangu::client {

class ReaderCore : public std::enable_shared_from_this<ReaderCore> {
 public:
  // The client's core is shared so that a Reader may go after its Client.
  ReaderCore(std::shared_ptr<ClientCore> core, std::string path, FileId file);

  Task<Result<u64>> read(u64 offset, MutableBytes into);
  Task<Result<u64>> length();
  Task<Result<u64>> read_wait(u64 offset, Instant deadline);
  u64 known_length() const { return seen_; }

 private:
  // A long read, handed out piece by piece to a few tasks.
  struct LongRead {
    u64 offset;
    MutableBytes into;
    bool failed = false;
  };
  // How one piece has fared so far.
  struct Attempt {
    Instant deadline;
    Duration pause;          // before the next round of all replicas
    bool refreshed = false;  // metadata: once only
    std::string troubles;    // what each replica said last time round
  };

  Status check_usable() const;
  u64 see();
  Task<Status> read_long(u64 offset, MutableBytes into);
  Task<void> read_pieces(std::shared_ptr<ReaderCore> keep, std::shared_ptr<LongRead> work,
                         std::shared_ptr<Batch> batch);
  // Fills `into`, which lies below the known length, span by span.
  Task<Status> read_piece(u64 offset, MutableBytes into);
  // At least one byte of the span, from whichever replica has them. 0: the round failed, look
  // again.
  Task<Result<u32>> read_span(StreamView::Span span, u64 offset, MutableBytes into,
                              Attempt& attempt);
  Task<Result<u32>> read_replica(StreamView::Span span, size_t replica, u64 offset,
                                 MutableBytes into);
  std::vector<size_t> replicas_by_cost(const ChunkPlace& chunk);
  Task<Status> find_span(u64 offset, Attempt& attempt);
  Task<Status> refresh(u64 from);
  void prefetch(u64 offset);
  Task<void> fetch_ahead(std::shared_ptr<ReaderCore> keep, u64 from, u32 chunks);
  Task<void> watch_tail(u64 beyond, Duration slice);

  const std::shared_ptr<ClientCore> core_;
  const std::string path_;
  const std::shared_ptr<StreamView> view_;  // shared with other readers of the file
  u64 seen_ = 0;
  u64 sequential_next_ = 0;
  u32 ahead_ = 1;  // chunks to ask for at once: more for a reader that goes on and on
  bool fetching_ahead_ = false;
};

}  // namespace pangu::client
