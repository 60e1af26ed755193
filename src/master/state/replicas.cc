#include "master/state/replicas.h"

#include <algorithm>
#include <set>

#include <fmt/core.h>

#include "base/reached.h"
#include "master/state/limits.h"
#include "master/state/orders.h"
#include "master/state/removed_files.h"
#include "master/state/settled.h"
#include "wire/control.pb.h"

namespace pangu::master {
namespace {

Error conflict(const record::ChangeReplicas& request, std::string_view what) {
  return Error(Code::kConflict, fmt::format("chunk {} of file {}: {}", request.sequence(),
                                            to_string(FileId{request.file()}), what));
}

int find_replica(const record::Chunk& chunk, const Location& location) {
  for (int i = 0; i < chunk.replicas_size(); ++i) {
    if (location_of(chunk.replicas(i)) == location) {
      return i;
    }
  }
  return -1;
}

// Stores `next` in place of what find_settled() gave.
void replace(Txn& txn, FileId file, const SettledChunk& before, const record::Chunk& next) {
  unlist_replicas(txn, file, before.wanted, before.chunk);
  list_replicas(txn, file, before.wanted, next);
  if (!before.in_tail) {
    txn.put(keys::chunk(file, next.sequence()), next);
    return;
  }
  record::Stream stream;
  txn.get(keys::stream(file), stream);
  for (record::Chunk& chunk : *stream.mutable_tail()) {
    if (chunk.sequence() == next.sequence()) {
      chunk = next;
    }
  }
  txn.put(keys::stream(file), stream);
}

Status check_places(Txn& txn, const record::ChangeReplicas& request, const ChunkId& id,
                    const record::Chunk& next) {
  std::set<u32> servers;
  for (const record::Replica& replica : next.replicas()) {
    if (!servers.insert(replica.server()).second) {
      return conflict(request, fmt::format("would stand twice on server {}", replica.server()));
    }
  }
  for (const record::Replica& added : request.add()) {
    if (is_being_erased(txn, location_of(added), id)) {
      REACHED("master: a copy where the old one is not erased yet");
      return conflict(request, fmt::format("an older copy on server {} is still being erased",
                                           added.server()));
    }
  }
  if (next.replicas_size() > kReplicasMax) {
    return conflict(request, fmt::format("would have more than {} copies", kReplicasMax));
  }
  if (good_copies(next) == 0) {
    return conflict(request, "would have no good copy left");
  }
  return ok_status();
}

}  // namespace

std::optional<SettledChunk> find_settled(Txn& txn, FileId file, u32 sequence) {
  record::Stream stream;
  if (!txn.get(keys::stream(file), stream)) {
    return std::nullopt;
  }
  SettledChunk out;
  out.wanted = stream.copies_max();
  if (txn.get(keys::chunk(file, sequence), out.chunk)) {
    return out;
  }
  for (record::Chunk& chunk : *stream.mutable_tail()) {
    if (chunk.sequence() == sequence && chunk.state() == static_cast<u32>(pb::CHUNK_SEALED)) {
      out.chunk = std::move(chunk);
      out.in_tail = true;
      return out;
    }
  }
  return std::nullopt;
}

Status change_replicas(Txn& txn, const record::ChangeReplicas& request) {
  const FileId file{request.file()};
  const ChunkId id{.file = file, .sequence = request.sequence()};
  if (request.remove().empty() && request.add().empty()) {
    return Error(Code::kInvalidArgument, "nothing is to be changed");
  }
  if (!txn.has(keys::stream(file))) {
    return Error(Code::kNotFound, fmt::format("file {} does not exist", to_string(file)));
  }
  const auto found = find_settled(txn, file, request.sequence());
  if (!found) {
    return conflict(request, "is not settled");
  }
  const u32 version = found->chunk.version();
  if (version != request.version() || version == ~u32{0}) {
    REACHED("master: replicas changed meanwhile");
    return conflict(request, fmt::format("has version {}, not {}", version, request.version()));
  }
  record::Chunk next = found->chunk;
  next.set_version(version + 1);
  for (const record::Replica& removed : request.remove()) {
    const Location location = location_of(removed);
    const int place = find_replica(next, location);
    if (place < 0) {
      return conflict(request, fmt::format("does not stand on server {}", removed.server()));
    }
    next.mutable_replicas()->DeleteSubrange(place, 1);
    if (request.erase()) {
      order_erase(txn, location, id, next.version());
    } else {
      forget_order(txn, location, id);
    }
  }
  for (const record::Replica& added : request.add()) {
    const Location location = location_of(added);
    if (location.server.number == 0 || location.device.is_zero()) {
      return Error(Code::kInvalidArgument, "a copy is to be added that stands nowhere");
    }
    *next.add_replicas() = added;
  }
  TRY_VOID(check_places(txn, request, id, next));
  replace(txn, file, *found, next);
  return ok_status();
}

Status mark_replicas(Txn& txn, const record::MarkReplicas& request) {
  if (request.marks_size() > kMarksMax) {
    return Error(Code::kInvalidArgument, fmt::format("{} marks in one command; {} are possible",
                                                     request.marks_size(), kMarksMax));
  }
  for (const record::MarkReplicas::One& mark : request.marks()) {
    const FileId file{mark.file()};
    const auto found = find_settled(txn, file, mark.sequence());
    if (!found || (mark.version() != 0 && mark.version() != found->chunk.version())) {
      continue;
    }
    const Location location = location_of(mark.replica());
    const int place = find_replica(found->chunk, location);
    if (place < 0 || found->chunk.replicas(place).suspect() == mark.replica().suspect()) {
      continue;
    }
    record::Chunk next = found->chunk;
    next.mutable_replicas(place)->set_suspect(mark.replica().suspect());
    if (!mark.replica().suspect()) {
      order_finalize(txn, file, next, location);
    }
    replace(txn, file, *found, next);
  }
  return ok_status();
}

bool is_orphan(Txn& txn, const Location& location, const ChunkId& chunk) {
  if (!is_of_group(txn, chunk.file)) {
    return false;
  }
  if (is_removed(txn, chunk.file)) {
    // One that is listed still leaves with its file.
    return !txn.has(keys::placed(location, chunk));
  }
  record::Stream stream;
  if (!txn.get(keys::stream(chunk.file), stream) || chunk.sequence > stream.last_sequence()) {
    return false;
  }
  for (const record::Chunk& listed : stream.tail()) {
    if (listed.sequence() == chunk.sequence && listed.state() == static_cast<u32>(pb::CHUNK_OPEN)) {
      return false;  // a takeover may be filling a copy that is not listed yet
    }
  }
  const auto settled = find_settled(txn, chunk.file, chunk.sequence);
  return !settled || find_replica(settled->chunk, location) < 0;
}

Status erase_orphans(Txn& txn, const record::EraseOrphans& request) {
  if (request.chunks_size() > kMarksMax) {
    return Error(Code::kInvalidArgument, fmt::format("{} chunks in one command; {} are possible",
                                                     request.chunks_size(), kMarksMax));
  }
  for (const record::OrderId& each : request.chunks()) {
    const Location location{.server = {request.server()},
                            .device = {.high = each.device_high(), .low = each.device_low()}};
    const ChunkId id{.file = {each.file()},
                     .sequence = each.sequence(),
                     .shard = static_cast<u16>(std::min<u32>(each.shard(), 0xffff))};
    if (!is_orphan(txn, location, id) || is_being_erased(txn, location, id)) {
      continue;
    }
    const auto settled = find_settled(txn, id.file, id.sequence);
    if (!settled) {
      order_erase(txn, location, id, 0);
      continue;
    }
    // A copy may be on its way to just that place: it is for the version that ends here.
    record::Chunk next = settled->chunk;
    next.set_version(next.version() + 1);
    order_erase(txn, location, id, next.version());
    replace(txn, id.file, *settled, next);
  }
  return ok_status();
}

}  // namespace pangu::master
