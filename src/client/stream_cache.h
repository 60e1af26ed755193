#pragma once
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "client/chunk_place.h"
#include "runtime/sync.h"
#include "wire/data_plane.h"

// What readers know of files: the chunks that are settled, and of those that are not, how far they
// are committed.
namespace pangu::client {

// A chunk whose length is not decided. What is committed of it is learned from its replicas.
struct OpenChunk {
  ChunkPlace place;
  bool exists = false;  // some replica has it
  u64 base = 0;         // then
  u64 committed = 0;    // stream offset, as far as its own replicas told
  bool ended = false;   // its owner appends no more: the master knows what comes next
};

// One file. Shared by the readers of one client; changes under them at every co_await.
//
// Invariants
// 1. length() never shrinks: what was committed once stays (PROTOCOL 30).
// 2. A chunk is never read beyond the base of the next existing one.
class StreamView {
 public:
  explicit StreamView(FileId file) : file_(file) {}

  FileId file() const { return file_; }
  u64 settled_length() const { return settled_length_; }
  bool sealed() const { return state_ == StreamState::sealed; }
  Epoch epoch() const { return epoch_; }
  u64 length() const { return length_; }
  const std::vector<OpenChunk>& open() const { return open_; }

  // A part of the file that lies in one chunk.
  struct Span {
    ChunkPlace place;
    bool settled = false;
    u64 base = 0;  // of the chunk
    u64 end = 0;   // stream offset up to which this chunk may be read now
  };
  // The span that holds `offset`; none: not known here (a settled chunk that was not fetched, or
  // not committed as far as known).
  std::optional<Span> find(u64 offset) const;
  // The settled chunks known without a gap from the one that holds `offset` on: how many come after
  // that one, and where the last of them ends. None if that one is not
  // known, or not settled.
  struct Ahead {
    u32 chunks = 0;
    u64 end = 0;
  };
  std::optional<Ahead> known_ahead(u64 offset) const;

  // What the master answered. An answer older than what is known changes nothing.
  void merge(const StreamSnapshot& snapshot);
  // What a replica of an open chunk answered.
  void learn(u32 sequence, const wire::WatchReply& reply);
  // A writer of this very client says that it used this chunk and has acknowledged up to
  // `committed` in it (its base, if it has left it).
  void learn_use(u32 sequence, u64 base, u64 committed);
  // A replica of it said, in a reply to READ, that it may be read up to this stream offset.
  void learn_committed(u32 sequence, u64 committed);
  // Where the chunk is may be asked again: once at a time, and not again for a second.
  enum class Relocation : u8 { begun, running, done };
  Relocation begin_relocation(u32 sequence, Instant now);
  void end_relocation(u32 sequence, Instant now);
  WaitList& relocated() { return relocated_; }

 private:
  const OpenChunk* next_existing(size_t index) const;
  void recompute_length();

  const FileId file_;
  Epoch epoch_;
  StreamState state_ = StreamState::fresh;
  u64 settled_length_ = 0;
  u64 length_ = 0;
  std::map<u64, ChunkPlace> settled_;  // by base
  std::vector<OpenChunk> open_;        // in list order
  // By sequence: when it was asked last where the chunk is; none: that is under way.
  std::map<u32, std::optional<Instant>> relocations_;
  WaitList relocated_;
};

// The views of the files used last.
class StreamCache {
 public:
  explicit StreamCache(size_t capacity) : capacity_(capacity) {}
  // The view of the file, made empty if it is not here. A view in use outlives its place here.
  std::shared_ptr<StreamView> get(FileId file);
  void forget(FileId file);
  size_t size() const { return order_.size(); }

 private:
  using Order = std::list<std::shared_ptr<StreamView>>;  // the last used first
  const size_t capacity_;
  Order order_;
  std::map<FileId, Order::iterator> places_;
};

}  // namespace pangu::client
