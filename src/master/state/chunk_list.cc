#include "master/state/chunk_list.h"

#include <set>

#include <fmt/core.h>

#include "base/log.h"
#include "base/reached.h"
#include "master/state/limits.h"
#include "master/state/orders.h"
#include "master/state/settled.h"

namespace pangu::master {
namespace {

// No file comes near it; sums of offsets below it cannot overflow.
constexpr u64 kOffsetMax = u64{1} << 62;

bool is_open(const record::Chunk& chunk) { return chunk.state() == pb::CHUNK_OPEN; }

Location location_of(const pb::Replica& replica) {
  return {.server = {replica.server()},
          .device = {.high = replica.device().high(), .low = replica.device().low()}};
}

Error conflict(FileId file, u32 sequence, std::string_view what) {
  return Error(Code::kConflict,
               fmt::format("chunk {} of file {}: {}", sequence, to_string(file), what));
}
Error invalid(FileId file, u32 sequence, std::string_view what) {
  return Error(Code::kInvalidArgument,
               fmt::format("chunk {} of file {}: {}", sequence, to_string(file), what));
}

Status check_layout(const record::Layout& layout, const record::Stream& stream) {
  std::set<u32> servers;
  for (const record::Replica& replica : layout.replicas()) {
    servers.insert(replica.server());
  }
  const u32 most = layout.copies_max();
  const u32 least = layout.copies_min();
  if (most == 0 || servers.size() != most ||
      layout.replicas_size() != static_cast<int>(most) || 2 * least <= most || least > most ||
      most > stream.copies_max() || least < stream.copies_min()) {
    return Error(Code::kInternal, "the leader offered a layout that breaks the file's policy");
  }
  return ok_status();
}

}  // namespace

int ChunkList::open_count() const {
  return static_cast<int>(
      std::count_if(stream_.tail().begin(), stream_.tail().end(), is_open));
}

int ChunkList::find(u32 sequence) const {
  for (int i = 0; i < stream_.tail_size(); ++i) {
    if (stream_.tail(i).sequence() == sequence) {
      return i;
    }
  }
  return -1;
}

Status ChunkList::add_fresh(const ApplyContext& context, u32 count,
                            google::protobuf::RepeatedPtrField<pb::ChunkInfo>& fresh) {
  if (static_cast<u32>(context.offer.layouts_size()) < count) {
    const Code code = code_from_number(static_cast<u16>(context.offer.error()));
    return Error(code == Code::kOk ? Code::kNoPlacement : code, context.offer.error_text());
  }
  if (stream_.tail_size() + static_cast<int>(count) > kTailMax) {
    return Error(Code::kBusy, fmt::format("file {} has {} chunks whose lengths are not decided; "
                                          "report those that are done first",
                                          to_string(file_), stream_.tail_size()));
  }
  if (stream_.last_sequence() > ~u32{0} - count) {
    return Error(Code::kTooLarge,
                 fmt::format("file {} has used up its chunk numbers", to_string(file_)));
  }
  for (u32 i = 0; i < count; ++i) {
    TRY_VOID(check_layout(context.offer.layouts(static_cast<int>(i)), stream_));
  }
  for (u32 i = 0; i < count; ++i) {
    const record::Layout& layout = context.offer.layouts(static_cast<int>(i));
    record::Chunk& chunk = *stream_.add_tail();
    chunk.set_sequence(stream_.last_sequence() + 1);
    stream_.set_last_sequence(chunk.sequence());
    chunk.set_state(pb::CHUNK_OPEN);
    chunk.set_owner_epoch(stream_.epoch());
    chunk.set_copies_max(layout.copies_max());
    chunk.set_copies_min(layout.copies_min());
    *chunk.mutable_replicas() = layout.replicas();
    chunk.set_version(1);
    chunk.set_chunk_limit(static_cast<u32>(stream_.chunk_bytes()));
    chunk.set_underspread(layout.underspread());
    describe_chunk(*fresh.Add(), file_, chunk);
  }
  txn_.meta().set_chunks(txn_.meta().chunks() + count);
  return ok_status();
}

void ChunkList::release(int place) {
  stream_.mutable_tail()->DeleteSubrange(place, 1);
  txn_.meta().set_chunks(txn_.meta().chunks() - 1);
}

void ChunkList::drop(int place) {
  order_erase(txn_, file_, stream_.tail(place), 0);
  release(place);
}

Status ChunkList::settle(int place, u64 base, u32 length) {
  record::Chunk& chunk = *stream_.mutable_tail(place);
  CHECK(is_open(chunk));
  if (length > chunk.chunk_limit()) {
    return invalid(file_, chunk.sequence(),
                   fmt::format("length {} is above its limit {}", length, chunk.chunk_limit()));
  }
  if (base > kOffsetMax) {
    return invalid(file_, chunk.sequence(), fmt::format("base {} is impossible", base));
  }
  if (length == 0) {
    drop(place);
    return ok_status();
  }
  chunk.set_state(pb::CHUNK_SEALED);
  chunk.set_base(base);
  chunk.set_length(length);
  order_finalize(txn_, file_, chunk);
  list_replicas(txn_, file_, stream_.copies_max(), chunk);
  return ok_status();
}

Status ChunkList::check_settled(u32 sequence, u64 base, u32 length) {
  if (sequence == 0 || sequence > stream_.last_sequence()) {
    return invalid(file_, sequence, "was never listed");
  }
  record::Chunk chunk;
  if (const int place = find(sequence); place >= 0) {
    CHECK(!is_open(stream_.tail(place)));
    chunk = stream_.tail(place);
  } else if (!txn_.get(keys::chunk(file_, sequence), chunk)) {
    return length == 0 ? ok_status()
                       : Status(conflict(file_, sequence, "was dropped or released"));
  }
  if (chunk.base() != base || chunk.length() != length) {
    return conflict(file_, sequence,
                    fmt::format("is settled with base {}, length {}; not with base {}, length {}",
                                chunk.base(), chunk.length(), base, length));
  }
  return ok_status();
}

Status ChunkList::settle_all(const google::protobuf::RepeatedPtrField<pb::Decision>& decisions,
                             MayMove may_move) {
  std::set<u32> decided;
  for (const pb::Decision& decision : decisions) {
    if (!decided.insert(decision.sequence()).second) {
      return invalid(file_, decision.sequence(), "is decided twice");
    }
    TRY_VOID(decide(decision, may_move));
  }
  for (const record::Chunk& chunk : stream_.tail()) {
    if (is_open(chunk)) {
      return invalid(file_, chunk.sequence(), "is open and has no decision: all must have one");
    }
  }
  TRY_VOID(check_joins());
  advance();
  return ok_status();
}

Status ChunkList::decide(const pb::Decision& decision, MayMove may_move) {
  const u32 sequence = decision.sequence();
  if (decision.dropped() != (decision.length() == 0)) {
    return invalid(file_, sequence, "must have a length if, and only if, it is not dropped");
  }
  const int place = find(sequence);
  if (place < 0 || !is_open(stream_.tail(place))) {
    return check_settled(sequence, decision.base(), decision.length());
  }
  if (!decision.dropped() && decision.replicas_size() > 0) {
    TRY_VOID(replace_replicas(*stream_.mutable_tail(place), decision, may_move));
  }
  return settle(place, decision.base(), decision.length());
}

Status ChunkList::check_replicas(const record::Chunk& chunk, const pb::Decision& decision) {
  if (decision.replicas_size() < static_cast<int>(chunk.copies_min()) ||
      decision.replicas_size() > kReplicasMax) {
    return invalid(file_, chunk.sequence(),
                   fmt::format("is published with {} locations; it needs {} to {}",
                               decision.replicas_size(), chunk.copies_min(), kReplicasMax));
  }
  std::set<u32> servers;
  for (const pb::Replica& replica : decision.replicas()) {
    const Location location = location_of(replica);
    if (location.server.number == 0 || location.device.is_zero()) {
      return invalid(file_, chunk.sequence(), "is published with a location that is none");
    }
    if (!servers.insert(replica.server()).second) {
      return invalid(file_, chunk.sequence(),
                     fmt::format("is published twice on server {}", replica.server()));
    }
  }
  return ok_status();
}

Status ChunkList::replace_replicas(record::Chunk& chunk, const pb::Decision& decision,
                                   MayMove may_move) {
  TRY_VOID(check_replicas(chunk, decision));
  std::set<Location> now;
  record::Chunk next = chunk;
  next.clear_replicas();
  for (const pb::Replica& replica : decision.replicas()) {
    now.insert(location_of(replica));
    record::Replica& kept = *next.add_replicas();
    kept.set_server(replica.server());
    kept.set_device_high(replica.device().high());
    kept.set_device_low(replica.device().low());
    kept.set_suspect(replica.suspect());
  }
  record::Chunk left = chunk;
  left.clear_replicas();
  for (const record::Replica& replica : chunk.replicas()) {
    if (!now.contains(location_of(replica))) {
      *left.add_replicas() = replica;
    }
  }
  const bool moved = left.replicas_size() > 0 || next.replicas_size() != chunk.replicas_size();
  if (moved && may_move == MayMove::no) {
    return invalid(file_, chunk.sequence(), "must keep its locations: only a takeover adds some");
  }
  if (moved) {
    REACHED("master: publish replaced locations of a chunk");
    next.set_version(chunk.version() + 1);
    order_erase(txn_, file_, left, next.version());
  }
  chunk = std::move(next);
  return ok_status();
}

Status ChunkList::check_joins() const {
  u64 end = stream_.settled_length();
  bool exact = true;  // every chunk so far is settled
  for (const record::Chunk& chunk : stream_.tail()) {
    if (is_open(chunk)) {
      exact = false;
      continue;
    }
    if (exact ? chunk.base() != end : chunk.base() < end) {
      REACHED("master: a decision does not join its neighbours");
      return conflict(file_, chunk.sequence(),
                      fmt::format("has base {}, but the settled chunks before it end at {}",
                                  chunk.base(), end));
    }
    end = chunk.base() + chunk.length();
    exact = true;
  }
  return ok_status();
}

void ChunkList::advance() {
  int settled = 0;
  for (const record::Chunk& chunk : stream_.tail()) {
    if (is_open(chunk)) {
      break;
    }
    ++settled;
    const u64 end = chunk.base() + chunk.length();
    txn_.put(keys::chunk(file_, chunk.sequence()), chunk);
    txn_.put(keys::chunk_end(file_, end), keys::encode_u32(chunk.sequence()));
    stream_.set_settled_length(end);
    stream_.set_settled_chunks(stream_.settled_chunks() + 1);
  }
  stream_.mutable_tail()->DeleteSubrange(0, settled);
}

void mark_suspects(record::Chunk& chunk, const google::protobuf::RepeatedField<u32>& servers) {
  for (record::Replica& replica : *chunk.mutable_replicas()) {
    if (std::find(servers.begin(), servers.end(), replica.server()) != servers.end()) {
      replica.set_suspect(true);
    }
  }
}

void describe_chunk(pb::ChunkInfo& out, FileId file, const record::Chunk& chunk) {
  out.mutable_chunk()->set_file(file.number);
  out.mutable_chunk()->set_sequence(chunk.sequence());
  out.set_state(static_cast<pb::ChunkState>(chunk.state()));
  out.set_owner_epoch(chunk.owner_epoch());
  out.set_copies_max(chunk.copies_max());
  out.set_copies_min(chunk.copies_min());
  for (const record::Replica& replica : chunk.replicas()) {
    pb::Replica& shown = *out.add_replicas();
    shown.set_server(replica.server());
    shown.mutable_device()->set_high(replica.device_high());
    shown.mutable_device()->set_low(replica.device_low());
    shown.set_suspect(replica.suspect());
  }
  out.set_base(chunk.base());
  out.set_length(chunk.length());
  out.set_version(chunk.version());
  out.set_chunk_limit(chunk.chunk_limit());
}

void describe_head(pb::StreamInfo& out, FileId file, const record::Stream& stream) {
  out.set_file(file.number);
  out.set_epoch(stream.epoch());
  out.set_state(static_cast<pb::StreamState>(stream.state()));
  out.set_settled_length(stream.settled_length());
  out.mutable_options()->set_copies_max(stream.copies_max());
  out.mutable_options()->set_copies_min(stream.copies_min());
  out.mutable_options()->set_chunk_bytes(stream.chunk_bytes());
}

}  // namespace pangu::master
