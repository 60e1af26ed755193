#pragma once
#include "chunk/server/terms.h"
#include "chunk/store/chunk_store.h"
#include "rpc/channel.h"

// One copy of a settled chunk: its original units are read from another server, checked one by one,
// and appended here until the chunk is whole; then it is finalized (PROTOCOL 31).
namespace pangu::chunk {

struct CopyOrder {
  u64 group = 0;
  u64 term = 0;
  ChunkId chunk;
  Uuid device;  // where to
  u32 length = 0;
  u32 version = 0;
  u64 base = 0;
  ServerId source;
  env::Address source_address;
  Uuid source_device;
  u64 bytes_per_second = 0;  // 0: no limit
  Instant deadline;
};

// The same bytes to the same place.
inline bool same_copy(const CopyOrder& a, const CopyOrder& b) {
  return a.group == b.group && a.chunk == b.chunk && a.device == b.device &&
         a.length == b.length && a.version == b.version && a.base == b.base;
}

// What ends all copies of a server at once.
struct CopyStop {
  bool stopping = false;
  WaitList wake;
};

class ChunkCopy {
 public:
  // All must outlive run().
  ChunkCopy(Reactor& reactor, ChunkStore& store, rpc::Channel& source, const CopyOrder& order,
            const Terms& terms, CopyStop& stop)
      : reactor_(reactor),
        store_(store),
        source_(source),
        order_(order),
        terms_(terms),
        stop_(stop) {}

  // Ok: the copy is whole, checked, finalized and durable. Otherwise as CopyChunkRequest says; an
  // unfinished copy stays, but not after NoSpace.
  Task<Status> run();
  u64 bytes() const { return bytes_; }  // of units that came over the network
  bool resumed() const { return resumed_; }

 private:
  // Units that go on right where the copy ends.
  struct Piece {
    Slice units;
    u32 count = 0;
    u32 data_len = 0;
    Epoch epoch;
  };
  enum class Next : u8 { done, again };  // again: from the start
  Task<Result<Next>> attempt();
  Task<Result<Next>> fill();
  Task<Result<Next>> finish();
  Task<Status> discard();
  Status check() const;
  bool has_room() const;
  Task<Status> pause(Instant until);
  Task<Status> keep_pace();
  Task<Result<Piece>> fetch();
  Task<Result<Piece>> fetch_once();
  Result<Piece> check_reply(const rpc::Response& response) const;
  Task<Code> write(Piece piece);

  Reactor& reactor_;
  ChunkStore& store_;
  rpc::Channel& source_;
  const CopyOrder& order_;
  const Terms& terms_;
  CopyStop& stop_;
  u32 offset_ = 0;  // where the copy ends
  u32 unit_ = 0;
  std::optional<Epoch> epoch_;
  bool remainder_ = false;  // an earlier attempt's units, with nothing joined to them yet
  bool resumed_ = false;
  u64 bytes_ = 0;
  Instant next_piece_;
};

}  // namespace pangu::chunk
