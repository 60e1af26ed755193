#include "chunk/store/checkpoint.h"

#include <algorithm>

#include "base/log.h"
#include "base/reached.h"
#include "chunk/store/shard.h"
#include "runtime/await.h"

namespace pangu::chunk {

namespace {
constexpr size_t kPieceBytes = 256 * kKiB;
constexpr size_t kExtentsPerRecord = 32 * 1024;
constexpr size_t kTombstonesPerSlice = 256;
constexpr Duration kRetry = seconds(1);
}  // namespace

// The body of a slot while it is being written.
struct Checkpointer::Body {
  explicit Body(Shard& shard) : piece(shard.scratch.take(kPieceBytes)) {}
  u64 offset = 0;  // of the device, where the next piece goes
  u64 end = 0;
  std::vector<std::byte> staged;
  Slice piece;
  u32 crc = 0;
  u64 bytes = 0;
  u64 records = 0;

  void add(const Record& record, u64 lsn) {
    encode_record(record, lsn, staged);
    ++records;
  }
  template <class R>
  void add_extents(const std::vector<Extent>& extents) {
    for (size_t i = 0; i < extents.size(); i += kExtentsPerRecord) {
      R record;
      const size_t end_index = std::min(extents.size(), i + kExtentsPerRecord);
      record.extents.assign(extents.begin() + static_cast<std::ptrdiff_t>(i),
                            extents.begin() + static_cast<std::ptrdiff_t>(end_index));
      add(std::move(record), 0);
    }
  }
};

void Checkpointer::start(u64 newest_number, size_t newest_slot, u64 newest_position) {
  number_ = newest_number;
  slot_ = newest_slot;
  position_ = newest_position;
}

bool Checkpointer::due() const {
  return shard_.log.starved() ||
         shard_.log.cut().position - position_ > shard_.log.size() / 4;
}

Task<void> Checkpointer::run() {
  while (!shard_.stopping && !shard_.writer.failed()) {
    if (!due()) {
      co_await shard_.log.written().wait();
      continue;
    }
    const Code code = co_await write();
    if (code != Code::kOk && code != Code::kBusy) {
      LOG_WARN("device {}: a checkpoint could not be written: {}", to_string(shard_.device()),
               code_text(code));
      co_await sleep_for(kRetry);
    }
  }
}

// Writes out what is staged, whole pieces only; with `last` the rest too.
Task<Code> Checkpointer::flush_body(Body& body) {
  size_t done = 0;
  while (body.staged.size() - done >= kPieceBytes) {
    if (body.offset + kPieceBytes > body.end) {
      co_return Code::kNoSpace;
    }
    std::memcpy(body.piece.data(), body.staged.data() + done, kPieceBytes);
    body.crc = crc32c_extend(body.crc, body.piece.bytes());
    const Code code = co_await shard_.writer.write_plain(body.offset, body.piece.bytes());
    if (code != Code::kOk) {
      co_return code;
    }
    body.offset += kPieceBytes;
    body.bytes += kPieceBytes;
    done += kPieceBytes;
  }
  body.staged.erase(body.staged.begin(), body.staged.begin() + static_cast<std::ptrdiff_t>(done));
  co_return Code::kOk;
}

Task<Code> Checkpointer::add_chunks(Body& body) {
  for (size_t slot = 0; slot < shard_.table.slots(); ++slot) {
    const Chunk* chunk = shard_.table.at_slot(slot);
    if (chunk == nullptr) {
      continue;
    }
    body.add(record_of(shard_, *chunk), chunk->lsn);
    if (body.staged.size() >= kPieceBytes) {
      const Code code = co_await flush_body(body);
      if (code != Code::kOk) {
        co_return code;
      }
    }
    co_await yield_if_expired();
  }
  co_return Code::kOk;
}

Task<Code> Checkpointer::add_tombstones(Body& body, u64 lsn_min) {
  const auto& tombstones = shard_.table.tombstones();
  ChunkId after;
  auto at = tombstones.begin();
  while (at != tombstones.end()) {
    for (size_t i = 0; i < kTombstonesPerSlice && at != tombstones.end(); ++i, ++at) {
      const auto& [id, tombstone] = *at;
      after = id;
      if (tombstone.lsn < lsn_min) {
        continue;
      }
      body.add(TombstoneRecord{.chunk = id,
                               .fence = tombstone.fence,
                               .deleted = tombstone.deleted,
                               .closed = tombstone.closed,
                               .released = {}},
               tombstone.lsn);
    }
    const Code code = co_await flush_body(body);
    if (code != Code::kOk) {
      co_return code;
    }
    co_await yield_if_expired();
    at = tombstones.upper_bound(after);
  }
  co_return Code::kOk;
}

Task<Code> Checkpointer::write_body(Body& body) {
  // Everything up to the first wait is the state at the cut. What follows may be newer: chunks and
  // tombstones carry their lsn, and blocks that a chunk came to use leave the reserved ones.
  body.add_extents<ReserveRecord>(shard_.blocks.reserved.extents());
  if (shard_.options.prewrite) {
    body.add_extents<PrewrittenRecord>(shard_.blocks.prewritten.extents());
  }
  for (const auto& [from, until] : shard_.table.forgotten_ranges()) {
    body.add(ForgetRecord{.from = from, .until = until}, 0);
  }
  // Tombstones before the chunks, for chunks that are created over one meanwhile, and those made
  // meanwhile after them, for chunks that are removed.
  const u64 lsn = shard_.log.next_lsn();
  Code code = co_await add_tombstones(body, 0);
  if (code == Code::kOk) {
    code = co_await add_chunks(body);
  }
  if (code == Code::kOk) {
    code = co_await add_tombstones(body, lsn);
  }
  if (code == Code::kOk) {
    code = co_await flush_body(body);
  }
  if (code != Code::kOk) {
    co_return code;
  }
  const size_t rest = body.staged.size();
  const size_t padded = round_up(rest, kSectorBytes);
  if (body.offset + padded > body.end) {
    co_return Code::kNoSpace;
  }
  if (rest > 0) {
    std::memset(body.piece.data(), 0, padded);
    std::memcpy(body.piece.data(), body.staged.data(), rest);
    body.crc = crc32c_extend(body.crc, body.piece.bytes().first(rest));
    body.bytes += rest;
    code = co_await shard_.writer.write_plain(body.offset, body.piece.bytes().first(padded));
    if (code != Code::kOk) {
      co_return code;
    }
  }
  code = co_await shard_.writer.sync();
  co_return code;
}

Task<Code> Checkpointer::write() {
  if (writing_) {
    co_return Code::kBusy;
  }
  writing_ = true;
  const size_t slot = 1 - slot_;
  const u64 start = shard_.layout.slot_offset[slot];
  const LogCut cut = shard_.log.cut();
  Body body(shard_);
  body.offset = start + kSectorBytes;
  body.end = start + shard_.layout.slot_bytes;
  Code code = co_await write_body(body);
  if (code == Code::kOk) {
    SlotHeader header;
    header.shard = shard_.options.shard;
    header.body_crc = body.crc;
    header.device = shard_.device();
    header.number = number_ + 1;
    header.body_bytes = body.bytes;
    header.record_count = body.records;
    header.log_position = cut.position;
    header.log_sequence = cut.sequence;
    header.next_lsn = shard_.log.next_lsn();
    header.next_reservation = shard_.next_reservation;
    encode_slot_header(header, body.piece.data());
    const Bytes sector = body.piece.bytes().first(kSectorBytes);
    code = co_await shard_.writer.write_durable(start, sector, -1);
  }
  if (code == Code::kOk) {
    REACHED("chunk: a checkpoint was written");
    ++shard_.counters.checkpoints;
    shard_.counters.checkpoint_bytes_written += body.bytes + kSectorBytes;
    shard_.note_checkpoint_bytes(body.bytes);
    // The ring keeps what the older slot needs, in case the newer one is found damaged.
    shard_.log.set_tail(position_);
    number_ += 1;
    slot_ = slot;
    position_ = cut.position;
  } else if (code == Code::kNoSpace) {
    REACHED("chunk: a checkpoint found no space");
    shard_.note_checkpoint_too_large();
  }
  writing_ = false;
  ended_.wake_all();
  co_return code;
}

}  // namespace pangu::chunk
