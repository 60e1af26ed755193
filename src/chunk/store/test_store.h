#pragma once
#include <optional>

#include "base/prng.h"
#include "chunk/store/chunk_store.h"
#include "chunk/store/memory_file.h"
#include "runtime/fake_env.h"
#include "runtime/sync.h"
#include "wire/unit.h"

// What tests of the chunk store share: a store on memory, and a writer that cuts runs as the client
// does.
namespace pangu::chunk {

inline constexpr Uuid kTestCluster{0xc1, 0x01};
inline constexpr Uuid kTestDevice{0xd1, 0x01};

inline ChunkId chunk_id(u64 file, u32 sequence = 1) {
  return {.file = {file}, .sequence = sequence, .shard = 0};
}

inline FormatOptions test_format(u64 capacity) {
  return {.cluster = kTestCluster,
          .server = {7},
          .device = kTestDevice,
          .capacity = capacity,
          .prewrite = false};
}

// The bytes that stand at an offset of a chunk, in every test: data is checked without keeping any.
inline std::vector<std::byte> bytes_of(const ChunkId& chunk, u32 offset, u32 size) {
  const u32 before = offset % 8;
  std::vector<std::byte> out(round_up(before + size, 8));
  const u64 seed = chunk.file.number * 131 + chunk.sequence;
  for (size_t i = 0; i < out.size(); i += 8) {
    store_le(out.data() + i, mix64(seed * 0x9e3779b97f4a7c15ULL + (offset - before + i)));
  }
  out.erase(out.begin(), out.begin() + before);
  out.resize(size);
  return out;
}

// One run as it arrives: whole units, with room for the store's header in front.
struct TestRun {
  AppendArgs args;
  Slice run;
};

// An owner of one chunk. Remembers where its units end so that it can send any of them again.
struct TestWriter {
  ChunkId chunk;
  Epoch epoch{1};
  u64 base = 1000;
  u32 limit = 64 * kMiB;
  u32 offset = 0;
  u32 unit = 0;
  u32 committed = 0;  // payload bytes of the chunk
  std::vector<wire::HistoryEntry> history;

  TestRun run_at(u32 at, u32 at_unit, u32 size) const {
    const u32 units = wire::units_for(size);
    Slice whole = Slice::allocate(ChunkStore::kHeadroom + size_t{units} * wire::kUnitBytes);
    TestRun out;
    out.run = whole.part(ChunkStore::kHeadroom, size_t{units} * wire::kUnitBytes);
    const std::vector<std::byte> data = bytes_of(chunk, at, size);
    const Bytes piece(data);
    wire::cut_run({.chunk = chunk,
                   .epoch = epoch,
                   .unit_index = at_unit,
                   .offset = at,
                   .committed = std::min(committed, at)},
                  {&piece, 1}, out.run.mutable_bytes());
    out.args = {.chunk = chunk,
                .epoch = epoch,
                .owner_epoch = epoch,
                .base = base,
                .committed = base + committed,
                .offset = at,
                .data_len = size,
                .unit_index = at_unit,
                .unit_count = units,
                .creates = at == 0,
                .chunk_limit = limit,
                .copies_max = 3,
                .copies_min = 2,
                .history = history};
    return out;
  }
  // The next run; the writer goes on behind it.
  TestRun next(u32 size) {
    TestRun out = run_at(offset, unit, size);
    offset += size;
    unit += out.args.unit_count;
    return out;
  }
};

// A store on memory, on a reactor whose time stands still.
class TestStore {
 public:
  explicit TestStore(u64 capacity = 64 * kMiB, bool format = true)
      : file_(std::make_unique<MemoryFile>(reactor_, capacity)) {
    options_.prewrite = false;
    if (format) {
      const Status formatted = wait(format_device(*file_, test_format(capacity)));
      CHECK_NOTE(formatted.ok(), formatted.ok() ? "" : formatted.error().message());
    }
  }
  ~TestStore() { stop(); }

  // The device as it is at this moment, and one that was so.
  std::vector<std::byte> image() const {
    std::vector<std::byte> out(file_->size());
    file_->peek(0, out);
    return out;
  }
  void load_image(Bytes image) { file_->poke(0, image); }

  template <class T>
  T wait(Task<T> task) {
    return run_blocking(reactor_, std::move(task));
  }
  Status open() {
    auto opened = wait(ChunkStore::open(reactor_, *file_, buffers_, options_));
    if (!opened.ok()) {
      return std::move(opened).error();
    }
    store_ = std::move(*opened);
    return ok_status();
  }
  void stop() {
    if (store_ != nullptr) {
      wait(store_->stop());
      store_.reset();
    }
  }
  void reopen() {
    stop();
    const Status status = open();
    CHECK_NOTE(status.ok(), status.ok() ? "" : status.error().message());
  }
  // Lets everything that is ready run, without letting time pass.
  void settle() {
    for (int i = 0; i < 1000; ++i) {
      reactor_.turn();
      env_.poll();
    }
  }

  AppendOutcome append(const TestRun& run) { return wait(store_->append(run.args, run.run)); }
  AppendOutcome append(TestWriter& writer, u32 size) { return append(writer.next(size)); }
  ReadOutcome read(const ChunkId& chunk, u32 offset, u32 length,
                   u32 settled = wire::kUnsettled, u64 known_committed = 0) {
    return wait(store_->read({.chunk = chunk,
                              .offset = offset,
                              .length = length,
                              .settled_length = settled,
                              .known_committed = known_committed}));
  }
  FenceOutcome fence(const ChunkId& chunk, u32 epoch) {
    return wait(store_->fence(chunk, Epoch{epoch}));
  }
  LengthOutcome finalize(const ChunkId& chunk, u32 length) {
    return wait(store_->finalize(chunk, length, 1));
  }
  LengthOutcome remove(const ChunkId& chunk) { return wait(store_->remove(chunk)); }

  ChunkStore& store() { return *store_; }
  MemoryFile& file() { return *file_; }
  Reactor& reactor() { return reactor_; }
  env::FakeEnv& env() { return env_; }
  HeapBuffers& buffers() { return buffers_; }
  StoreOptions& options() { return options_; }

 private:
  env::FakeEnv env_;
  Reactor reactor_{env_, {}};
  HeapBuffers buffers_;
  std::unique_ptr<MemoryFile> file_;
  StoreOptions options_;
  std::unique_ptr<ChunkStore> store_;
};

// The payload of an answer, checked against bytes_of. Empty text if it is right.
inline std::string check_payload(const ChunkId& chunk, u32 offset, const ReadOutcome& out) {
  u32 at = out.unit_offset;
  for (u32 i = 0; i < out.unit_count; ++i) {
    const std::byte* unit = out.units.data() + size_t{i} * wire::kUnitBytes;
    if (wire::check_unit(chunk, out.unit_index + i, unit) != wire::UnitFault::ok) {
      return "a bad unit was handed out";
    }
    const wire::UnitFooter footer = wire::footer_of(unit);
    const std::vector<std::byte> right = bytes_of(chunk, at, footer.data_len);
    if (std::memcmp(unit, right.data(), right.size()) != 0) {
      return "wrong bytes in the unit at " + std::to_string(at);
    }
    at += footer.data_len;
  }
  return out.unit_offset <= offset && offset + out.length <= at ? "" : "fewer bytes than said";
}

}  // namespace pangu::chunk
