#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "chunk/store/device_read.h"
#include "chunk/store/ops.h"
#include "chunk/store/recovery.h"
#include "runtime/await.h"

// The ChunkStore that others see: it counts operations in and out and owns the shard.
namespace pangu::chunk {

namespace {

class Store final : public ChunkStore {
 public:
  explicit Store(std::unique_ptr<Shard> shard) : shard_(std::move(shard)) {}
  ~Store() override { CHECK_NOTE(stopped_ || abandoned(), "a chunk store was not stopped"); }

  void start();
  Task<void> stop() override;

  Task<AppendOutcome> append(AppendArgs args, Slice run) override;
  Task<ReadOutcome> read(ReadArgs args) override;
  Task<FenceOutcome> fence(ChunkId chunk, Epoch epoch) override;
  Task<LengthOutcome> finalize(ChunkId chunk, u32 length, u32 version) override;
  Task<LengthOutcome> close(ChunkId chunk, Epoch epoch) override;
  Task<LengthOutcome> remove(ChunkId chunk, u32 version) override;
  Task<CopyStart> begin_copy(ChunkId chunk) override;
  std::vector<ChunkId> unfinished_copies() const override;
  void set_committed(ChunkId chunk, Epoch epoch, u64 committed) override {
    do_set_committed(*shard_, chunk, epoch, committed);
  }
  Task<WatchOutcome> watch(WatchArgs args) override;
  Result<ChunkInfo> stat(ChunkId chunk) const override;
  std::vector<ChunkInfo> list(ChunkId after, size_t max) const override;
  std::vector<ChunkInfo> chunks_between(ChunkId from, ChunkId until, size_t max) const override;
  u64 last_change() const override { return shard_->changes.last(); }
  std::optional<std::vector<ChunkId>> changed_since(u64 change, ChunkId from,
                                                    ChunkId until) const override {
    return shard_->changes.since(change, from, until);
  }
  Task<Result<Checked>> verify(ChunkId chunk, u32 first, u32 units_max) override;
  Task<Status> forget(std::vector<ChunkRange> dead) override;
  std::optional<ChunkId> forgettable(ChunkId from) const override {
    return shard_->table.forgettable(from);
  }
  Remembered remembered() const override;
  Remembered remembered_of(u32 stream_index) const override;
  void drop_tails() override;

  const DeviceIdentity& identity() const override { return shard_->identity; }
  const StoreCounters& counters() const override { return shard_->counters; }
  const RecoveryReport& recovery() const override { return shard_->report; }
  SpaceInfo space() const override;
  Contents contents() const override;

 private:
  bool closed() const { return shard_->operations.closed(); }
  bool abandoned() const {
    return shard_->reactor.abandoned();
  }

  std::unique_ptr<Shard> shard_;
  bool stopped_ = false;
};

void Store::start() {
  Shard& shard = *shard_;
  shard.log_task.spawn(shard.reactor, "op log", TaskClass::control, shard.log.run());
  shard.background.spawn(shard.reactor, "room", TaskClass::foreground, shard.room.run());
  shard.background.spawn(shard.reactor, "checkpoint", TaskClass::repair,
                         shard.checkpointer.run());
}

Task<void> Store::stop() {
  Shard& shard = *shard_;
  if (stopped_) {
    co_return;
  }
  shard.stopping = true;
  for (Live* live = shard.open_chunks.front(); live != nullptr;
       live = shard.open_chunks.next(*live)) {
    live->watchers.wake_all();
  }
  shard.room.wake();
  co_await shard.operations.close();
  shard.room.wake();
  shard.log.written().wake_all();
  co_await shard.background.close();
  if (!shard.writer.failed()) {
    const Code code = co_await shard.checkpointer.write();
    if (code != Code::kOk) {
      LOG_WARN("device {}: no checkpoint at the end: {}", to_string(shard.device()),
               code_text(code));
    }
  }
  shard.log.end();
  co_await shard.log_task.close();
  stopped_ = true;
}

Task<AppendOutcome> Store::append(AppendArgs args, Slice run) {
  AppendOutcome out{.code = Code::kClosed};
  if (!closed()) {
    const Gate::Holder holder(shard_->operations);
    out = co_await do_append(*shard_, std::move(args), std::move(run));
  }
  co_return out;
}

Task<ReadOutcome> Store::read(ReadArgs args) {
  ReadOutcome out;
  out.code = Code::kClosed;
  if (!closed()) {
    const Gate::Holder holder(shard_->operations);
    out = co_await do_read(*shard_, args);
  }
  co_return out;
}

Task<FenceOutcome> Store::fence(ChunkId chunk, Epoch epoch) {
  FenceOutcome out;
  out.code = Code::kClosed;
  if (!closed()) {
    const Gate::Holder holder(shard_->operations);
    out = co_await do_fence(*shard_, chunk, epoch);
  }
  co_return out;
}

Task<LengthOutcome> Store::finalize(ChunkId chunk, u32 length, u32 version) {
  LengthOutcome out{.code = Code::kClosed};
  if (!closed()) {
    const Gate::Holder holder(shard_->operations);
    out = co_await do_finalize(*shard_, chunk, length, version);
  }
  co_return out;
}

Task<LengthOutcome> Store::close(ChunkId chunk, Epoch epoch) {
  LengthOutcome out{.code = Code::kClosed};
  if (!closed()) {
    const Gate::Holder holder(shard_->operations);
    out = co_await do_close(*shard_, chunk, epoch);
  }
  co_return out;
}

Task<LengthOutcome> Store::remove(ChunkId chunk, u32 version) {
  LengthOutcome out{.code = Code::kClosed};
  if (!closed()) {
    const Gate::Holder holder(shard_->operations);
    out = co_await do_remove(*shard_, chunk, version);
  }
  co_return out;
}

Task<CopyStart> Store::begin_copy(ChunkId chunk) {
  CopyStart out{.code = Code::kClosed};
  if (!closed()) {
    const Gate::Holder holder(shard_->operations);
    out = co_await do_begin_copy(*shard_, chunk);
  }
  co_return out;
}

std::vector<ChunkId> Store::unfinished_copies() const {
  std::vector<ChunkId> out;
  for (Live* live = shard_->open_chunks.front(); live != nullptr;
       live = shard_->open_chunks.next(*live)) {
    if (live->chunk.copying() && !live->chunk.removing) {
      out.push_back(live->chunk.id);
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

Task<WatchOutcome> Store::watch(WatchArgs args) {
  WatchOutcome out{.code = Code::kClosed};
  if (!closed()) {
    const Gate::Holder holder(shard_->operations);
    out = co_await do_watch(*shard_, args);
  }
  co_return out;
}

Task<Result<ChunkStore::Checked>> Store::verify(ChunkId chunk, u32 first, u32 units_max) {
  if (closed()) {
    co_return Error(Code::kClosed);
  }
  const Gate::Holder holder(shard_->operations);
  ChunkRef found(shard_->table.find(chunk));
  if (!found) {
    co_return Error(Code::kNotHere);
  }
  auto out = co_await do_verify(*shard_, found, first, units_max);
  co_return out;
}

Task<Status> Store::forget(std::vector<ChunkRange> dead) {
  if (closed()) {
    co_return Error(Code::kClosed);
  }
  const Gate::Holder holder(shard_->operations);
  auto out = co_await do_forget(*shard_, std::move(dead));
  co_return out;
}

void Store::drop_tails() {
  for (Live* live = shard_->open_chunks.front(); live != nullptr;
       live = shard_->open_chunks.next(*live)) {
    shard_->drop_tail(*live);
  }
}

Result<ChunkInfo> Store::stat(ChunkId id) const {
  if (const Chunk* chunk = shard_->table.find(id)) {
    return info_of(*shard_, *chunk);
  }
  if (const Tombstone* tombstone = shard_->table.find_tombstone(id)) {
    ChunkInfo info;
    info.chunk = id;
    info.fence = tombstone->fence;
    info.closed = tombstone->closed;
    return info;
  }
  return Error(Code::kNotFound, fmt::format("chunk {}", to_string(id)));
}

std::vector<ChunkInfo> Store::list(ChunkId after, size_t max) const {
  std::vector<ChunkId> ids = shard_->table.ids_after(after, max);
  const auto& tombstones = shard_->table.tombstones();
  for (auto at = tombstones.upper_bound(after); at != tombstones.end() && max > 0; ++at) {
    if (ids.size() >= max && at->first > ids.back()) {
      break;
    }
    ids.insert(std::upper_bound(ids.begin(), ids.end(), at->first), at->first);
    ids.resize(std::min(ids.size(), max));
  }
  std::vector<ChunkInfo> out;
  for (const ChunkId& id : ids) {
    out.push_back(stat(id).value());
  }
  return out;
}

std::vector<ChunkInfo> Store::chunks_between(ChunkId from, ChunkId until, size_t max) const {
  std::vector<ChunkInfo> out;
  for (const ChunkId& id : shard_->table.ids_between(from, until, max)) {
    out.push_back(info_of(*shard_, *shard_->table.find(id)));
  }
  return out;
}

SpaceInfo Store::space() const {
  const Shard& shard = *shard_;
  const u64 block = shard.layout.block_bytes;
  const u64 kept = std::min(shard.room.kept_blocks(), shard.blocks.free());
  return {.capacity = u64{shard.layout.blocks} * block,
          .free = (shard.blocks.free() - kept) * block,
          .prepared = u64{shard.room.pool_blocks()} * block,
          .kept = kept * block,
          .log_bytes = shard.log.size(),
          .log_used = shard.log.used(),
          .full = shard.room.full() || shard.metadata_full(Shard::Entry::chunk),
          .failed = shard.writer.failed()};
}

Remembered Store::remembered() const {
  return {.tombstones = shard_->table.tombstones().size(),
          .ranges = shard_->table.forgotten_ranges().size(),
          .full = shard_->metadata_full(Shard::Entry::chunk)};
}

Remembered Store::remembered_of(u32 stream_index) const {
  const ChunkTable::Kept kept = shard_->table.kept_of(stream_index);
  return {.tombstones = kept.tombstones,
          .ranges = kept.ranges,
          .full = shard_->metadata_full(Shard::Entry::chunk)};
}

ChunkStore::Contents Store::contents() const {
  Contents out;
  for (size_t slot = 0; slot < shard_->table.slots(); ++slot) {
    const Chunk* chunk = shard_->table.at_slot(slot);
    if (chunk != nullptr) {
      ++out.chunks;
      out.open_chunks += chunk->open() ? 1 : 0;
      out.payload_bytes += chunk->length;
    }
  }
  out.tombstones = shard_->table.tombstones().size();
  return out;
}

}  // namespace

Task<Result<std::unique_ptr<ChunkStore>>> ChunkStore::open(Reactor& reactor, env::File& file,
                                                           Buffers& buffers,
                                                           StoreOptions options) {
  const Instant start = reactor.now();
  CO_TRY(superblock, co_await read_superblock(file));
  if (options.shard >= superblock.shards) {
    co_return Error(Code::kInvalidArgument, fmt::format("the device has {} shards, number {} is "
                                                        "not one of them",
                                                        superblock.shards, options.shard));
  }
  if (file.alignment() > kSectorBytes) {
    co_return Error(Code::kUnsupported, fmt::format("the device wants transfers of {} bytes; "
                                                    "sectors have {}",
                                                    file.alignment(), kSectorBytes));
  }
  auto shard = std::make_unique<Shard>(reactor, file, buffers, options, superblock);
  CO_TRY(loaded, co_await load_shard(*shard));
  Recovery recovery(*shard);
  CO_TRY_VOID(co_await recovery.look());
  CO_TRY_VOID(co_await recovery.settle(loaded));
  shard->report.log_records = loaded.log_records;
  shard->report.used_older_checkpoint = loaded.used_older;
  shard->report.took = reactor.now() - start;
  auto store = std::make_unique<Store>(std::move(shard));
  store->start();
  co_return std::unique_ptr<ChunkStore>(std::move(store));
}

}  // namespace pangu::chunk
