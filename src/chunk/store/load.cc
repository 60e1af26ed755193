#include "chunk/store/load.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "base/reached.h"
#include "chunk/store/device_read.h"
#include "runtime/await.h"

namespace pangu::chunk {

namespace {

struct Slots {
  std::optional<SlotHeader> header[2];
};

Task<Result<Slots>> read_slot_headers(Shard& shard) {
  Slots out;
  const Slice sector = Slice::allocate(kSectorBytes);
  for (size_t i = 0; i < 2; ++i) {
    const Status status =
        co_await read_exactly(shard.file, shard.layout.slot_offset[i], sector.mutable_bytes());
    if (status.ok()) {
      out.header[i] = decode_slot_header(sector.data(), shard.device(), shard.options.shard,
                                         shard.layout.slot_bytes);
    }
  }
  co_return out;
}

// The body of a slot if it is whole and sound.
Task<std::optional<std::vector<std::byte>>> read_slot_body(Shard& shard, size_t slot,
                                                           SlotHeader header) {
  std::vector<std::byte> body;
  body.reserve(round_up(header.body_bytes, kSectorBytes));
  SectorReader reader(shard.file, shard.scratch);
  reader.start(shard.layout.slot_offset[slot] + kSectorBytes,
               round_up(header.body_bytes, kSectorBytes));
  while (!reader.at_end()) {
    const Bytes sector = co_await reader.next();
    if (sector.empty()) {
      co_return std::nullopt;
    }
    body.insert(body.end(), sector.begin(), sector.end());
    co_await yield_if_expired();
  }
  body.resize(header.body_bytes);
  if (crc32c(body) != header.body_crc) {
    co_return std::nullopt;
  }
  co_return body;
}

Task<Status> apply_slot(Shard& shard, SlotHeader header, std::vector<std::byte> body) {
  Bytes rest(body);
  for (u64 i = 0; i < header.record_count; ++i) {
    CO_TRY(record, decode_record(rest));
    CO_TRY_VOID(apply_record(shard, std::move(record)));
    co_await yield_if_expired();
  }
  if (!rest.empty()) {
    co_return Error(Code::kCorrupt, "a checkpoint is longer than its records");
  }
  shard.next_reservation = std::max(shard.next_reservation, header.next_reservation);
  co_return ok_status();
}

// Reads the newest sound checkpoint into the shard.
Task<Result<Loaded>> load_checkpoint(Shard& shard, Slots& slots) {
  Loaded loaded;
  size_t order[2] = {0, 1};
  const auto number = [&](size_t i) { return slots.header[i] ? slots.header[i]->number : 0; };
  if (number(1) > number(0)) {
    std::swap(order[0], order[1]);
  }
  loaded.newest_number = number(order[0]);
  for (const size_t slot : order) {
    if (!slots.header[slot]) {
      continue;
    }
    auto body = co_await read_slot_body(shard, slot, *slots.header[slot]);
    if (!body) {
      continue;
    }
    if (slot != order[0]) {
      REACHED("chunk: the newest checkpoint is damaged, the older one serves");
      LOG_WARN("device {}: the newest checkpoint is damaged; recovering from the one before",
               to_string(shard.device()));
      loaded.used_older = true;
    }
    CO_TRY_VOID(co_await apply_slot(shard, *slots.header[slot], std::move(*body)));
    loaded.used_slot = slot;
    loaded.used_position = slots.header[slot]->log_position;
    loaded.log_end = {slots.header[slot]->log_position, slots.header[slot]->log_sequence};
    loaded.next_lsn = slots.header[slot]->next_lsn;
    co_return loaded;
  }
  co_return Error(Code::kCorrupt, "neither checkpoint can be read");
}

// The whole ring in memory.
class Ring {
 public:
  explicit Ring(Shard& shard) : shard_(shard), bytes_(shard.layout.log_bytes) {}

  Task<Status> read() {
    SectorReader reader(shard_.file, shard_.scratch);
    reader.start(shard_.layout.log_offset, bytes_.size());
    size_t at = 0;
    while (!reader.at_end()) {
      const Bytes sector = co_await reader.next();
      if (sector.empty()) {
        unreadable_ = true;
      } else {
        std::memcpy(bytes_.data() + at, sector.data(), kSectorBytes);
      }
      at += kSectorBytes;
      co_await yield_if_expired();
    }
    co_return ok_status();
  }
  // The header of the batch with that sequence at `position`, if it is there and whole.
  std::optional<BatchHeader> batch_at(u64 position, u64 sequence) const {
    const u64 inside = position % bytes_.size();
    const auto header = header_at(inside);
    if (!header || header->position != position || header->sequence != sequence) {
      return std::nullopt;
    }
    const u64 size = batch_bytes(header->body_bytes);
    if (size > bytes_.size() - inside || !batch_body_ok(*header, whole(inside, size))) {
      return std::nullopt;
    }
    return header;
  }
  Bytes body_of(const BatchHeader& header) const {
    return whole(header.position % bytes_.size() + sizeof(BatchHeader), header.body_bytes);
  }
  u64 highest_sequence() const {
    u64 highest = 0;
    for (u64 at = 0; at < bytes_.size(); at += kSectorBytes) {
      const auto header = header_at(at);
      highest = header ? std::max(highest, header->sequence) : highest;
    }
    return highest;
  }
  u64 size() const { return bytes_.size(); }
  bool unreadable() const { return unreadable_; }

 private:
  std::optional<BatchHeader> header_at(u64 inside) const {
    return decode_batch_header(bytes_.data() + inside, shard_.device(), shard_.options.shard);
  }
  Bytes whole(u64 inside, u64 size) const { return Bytes(bytes_).subspan(inside, size); }
  Shard& shard_;
  std::vector<std::byte> bytes_;
  bool unreadable_ = false;
};

Task<Status> replay_batch(Shard& shard, Ring& ring, BatchHeader header, Loaded& loaded) {
  Bytes rest = ring.body_of(header);
  for (u32 i = 0; i < header.record_count; ++i) {
    CO_TRY(record, decode_record(rest));
    if (record.lsn != header.first_lsn + i) {
      co_return Error(Code::kCorrupt, "the log's records are out of order");
    }
    CO_TRY_VOID(apply_record(shard, std::move(record)));
    ++loaded.log_records;
    co_await yield_if_expired();
  }
  loaded.next_lsn = std::max(loaded.next_lsn, header.first_lsn + header.record_count);
  co_return ok_status();
}

Task<Status> replay_log(Shard& shard, Loaded& loaded, u64 sequence_must_reach) {
  Ring ring(shard);
  CO_TRY_VOID(co_await ring.read());
  u64 position = loaded.log_end.position;
  u64 sequence = loaded.log_end.sequence;
  for (;;) {
    auto header = ring.batch_at(position, sequence);
    if (!header) {
      // A batch that did not fit before the end of the ring stands at its beginning.
      header = ring.batch_at(round_up(position, ring.size()), sequence);
    }
    if (!header) {
      break;
    }
    CO_TRY_VOID(co_await replay_batch(shard, ring, *header, loaded));
    position = header->position + batch_bytes(header->body_bytes);
    ++sequence;
  }
  if (ring.unreadable()) {
    // The last batch may stand in what cannot be read.
    co_return Error(Code::kIoError, "a part of the log cannot be read");
  }
  // One batch is written at a time: behind a torn one there cannot be another.
  const u64 highest = ring.highest_sequence();
  if (highest > sequence || sequence < sequence_must_reach) {
    co_return Error(Code::kCorrupt,
                    fmt::format("the log is damaged at batch {} (it goes on to {})", sequence,
                                std::max(highest, sequence_must_reach)));
  }
  if (highest == sequence) {
    REACHED("chunk: the log ends in a torn batch");
  }
  loaded.log_end = {position, sequence};
  co_return ok_status();
}

}  // namespace

Task<Result<Loaded>> load_shard(Shard& shard) {
  CO_TRY(slots, co_await read_slot_headers(shard));
  CO_TRY(loaded, co_await load_checkpoint(shard, slots));
  u64 must_reach = 0;
  for (const auto& header : slots.header) {
    must_reach = header ? std::max(must_reach, header->log_sequence) : must_reach;
  }
  CO_TRY_VOID(co_await replay_log(shard, loaded, must_reach));
  co_return loaded;
}

}  // namespace pangu::chunk
