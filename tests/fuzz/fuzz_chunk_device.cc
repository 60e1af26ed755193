// A device whose newest checkpoint holds any records at all, with right checksums: it is opened and
// used, or refused; and what was opened and stopped in order opens again.
#include "base/log.h"
#include "chunk/format/checkpoint_slot.h"
#include "chunk/format/record.h"
#include "chunk/format/superblock.h"
#include "chunk/store/chunk_store.h"
#include "chunk/store/memory_file.h"
#include "runtime/fake_env.h"
#include "runtime/sync.h"

namespace {

using namespace pangu;
using namespace pangu::chunk;

constexpr u64 kCapacity = 4 * kMiB;
constexpr Uuid kDevice{.high = 1, .low = 2};

struct Bench {
  env::FakeEnv env;
  Reactor reactor{env, {}};
  HeapBuffers buffers;
  MemoryFile file{reactor, kCapacity};

  template <class T>
  T wait(Task<T> task) {
    return run_blocking(reactor, std::move(task));
  }
  void write_checkpoint(Bytes body) {
    const FormatOptions format{.cluster = {.high = 3, .low = 4},
                               .server = {5},
                               .device = kDevice,
                               .capacity = kCapacity,
                               .prewrite = false};
    CHECK(wait(format_device(file, format)).ok());
    Superblock superblock{.cluster = format.cluster,
                          .device = kDevice,
                          .server = format.server,
                          .capacity = kCapacity,
                          .block_bytes = 64 * kKiB};
    CHECK(divide(superblock).ok());
    const ShardLayout layout = layout_of(superblock, 0);
    SlotHeader header;
    header.device = kDevice;
    header.number = 2;
    Bytes rest = body;
    while (!rest.empty() && decode_record(rest).ok()) {
      ++header.record_count;
    }
    body = body.first(body.size() - rest.size());
    body = body.first(std::min<size_t>(body.size(), layout.slot_bytes - kSectorBytes));
    header.body_bytes = body.size();
    header.body_crc = crc32c(body);
    header.log_sequence = 1;
    header.next_lsn = u64{1} << 40;
    header.next_reservation = 1;
    std::vector<std::byte> sector(kSectorBytes);
    encode_slot_header(header, sector.data());
    file.poke(layout.slot_offset[1], sector);
    file.poke(layout.slot_offset[1] + kSectorBytes, body);
  }
  void use(ChunkStore& store) {
    for (const ChunkInfo& info : store.list({}, 4)) {
      (void)wait(store.read({.chunk = info.chunk, .length = 5000, .settled_length = info.length}));
      (void)wait(store.fence(info.chunk, Epoch{info.fence.number + 1}));
      (void)wait(store.verify(info.chunk, 0, 10)).ok();
      (void)wait(store.finalize(info.chunk, info.length, 1));
      (void)wait(store.remove(info.chunk));
    }
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
  set_log_level(static_cast<LogLevel>(4));
  Bench bench;
  bench.write_checkpoint({reinterpret_cast<const std::byte*>(data), size});
  for (int life = 0; life < 2; ++life) {
    auto store =
        bench.wait(ChunkStore::open(bench.reactor, bench.file, bench.buffers, {.prewrite = false}));
    if (!store.ok()) {
      CHECK(life == 0);
      return 0;
    }
    bench.use(**store);
    bench.wait((*store)->stop());
  }
  return 0;
}
