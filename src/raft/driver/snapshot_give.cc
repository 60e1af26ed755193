#include <algorithm>
#include <fmt/format.h>

#include "base/log.h"
#include "base/reached.h"
#include "raft/driver/host.h"

// Snapshots for members that the log no longer reaches, and how much of the log is kept.
namespace pangu::raft {
namespace {

constexpr Duration kLook = milliseconds(10);

}  // namespace

// The core asks again as long as the member is behind.
void Replica::want_snapshot(NodeId to) {
  const auto found = core_->progress().find(to);
  if (found == core_->progress().end()) {
    return;
  }
  const Duration silent = host_.reactor_.now() - found->second.last_reply();
  if (silent > host_.options_.group.election_max * 2) {
    return;  // a member that is gone shall cost nothing
  }
  if (served_ && served_->image.index >= core_->log().base().index) {
    offer(to);
    return;
  }
  if (std::find(wanting_.begin(), wanting_.end(), to) == wanting_.end()) {
    wanting_.push_back(to);
  }
  if (!making_snapshot_) {
    making_snapshot_ =
        gate_.spawn(host_.reactor_, "raft snapshot", TaskClass::repair, make_snapshot());
  }
}

void Replica::offer(NodeId to) {
  const LogSummary& log = core_->log().summary();
  const Index index = served_->image.index;
  if (index < log.base().index || index > core_->applied()) {
    return;
  }
  core_->offer_snapshot(to, log.describe(index));
  host_.mark_dirty(*this);
}

Task<void> Replica::make_snapshot() {
  co_await machine_lock_.take(1);
  std::optional<Result<SnapshotImage>> made;
  if (usable().ok()) {
    made.emplace(co_await machine_.make_snapshot());
  }
  machine_lock_.give(1);
  making_snapshot_ = false;
  const std::vector<NodeId> wanting = std::exchange(wanting_, {});
  if (!made) {
    co_return;
  }
  if (!made->ok()) {
    LOG_WARN("group {}: no snapshot could be made for a member that is far behind: {}",
             group_.value(), made->error().message());
    co_return;
  }
  const Index index = (*made)->index;
  const Status fits = check_image(**made);
  if (!fits.ok() || !usable().ok()) {
    machine_.release_snapshot(index);
    if (!fits.ok()) {
      LOG_ERROR("group {}: {}", group_.value(), fits.error().message());
    }
    co_return;
  }
  while (served_ && served_->readers > 0) {
    co_await closing_.wait(host_.reactor_.now() + kLook);
  }
  if (served_ && served_->image.index != index) {
    machine_.release_snapshot(served_->image.index);
  }
  ++counters_.snapshots_made;
  served_.emplace();
  served_->manifest = encode_image(**made);
  served_->image = std::move(**made);
  served_->used = host_.reactor_.now();
  for (const NodeId to : wanting) {
    offer(to);
  }
}

Task<rpc::Reply> Replica::serve_begin(Index index) {
  if (!usable().ok() || !served_ || served_->image.index != index) {
    co_return rpc::Reply(
        Error(Code::kNotFound, fmt::format("there is no snapshot at {} any more", index)));
  }
  served_->used = host_.reactor_.now();
  rpc::Reply reply;
  reply.body = served_->manifest;
  co_return reply;
}

Task<rpc::Reply> Replica::serve_piece(SnapshotRead request) {
  if (!usable().ok() || !served_ || served_->image.index != request.index) {
    co_return rpc::Reply(
        Error(Code::kNotFound, fmt::format("there is no snapshot at {} any more", request.index)));
  }
  const std::vector<SnapshotPiece>& pieces = served_->image.pieces;
  if (request.piece >= pieces.size() || request.length == 0 ||
      request.offset > pieces[request.piece].size ||
      request.length > pieces[request.piece].size - request.offset) {
    co_return rpc::Reply(
        Error(Code::kInvalidArgument, "the snapshot does not have these bytes"));
  }
  const Gate::Holder hold(gate_);
  ++served_->readers;
  auto bytes =
      co_await machine_.read_piece(request.index, request.piece, request.offset, request.length);
  --served_->readers;  // it stays while somebody reads: maintain()
  served_->used = host_.reactor_.now();
  if (!bytes.ok()) {
    co_return rpc::Reply(bytes.error());
  }
  rpc::Reply reply;
  reply.body = std::move(*bytes);
  co_return reply;
}

// Now and then.
void Replica::maintain(Instant now) {
  if (core_ == nullptr || !usable().ok()) {
    return;
  }
  if (served_ && served_->readers == 0 && now - served_->used >= host_.options_.snapshot_keep) {
    machine_.release_snapshot(served_->image.index);
    served_.reset();
  }
  compact();
}

void Replica::compact() {
  if (core_ == nullptr || !usable().ok()) {
    return;
  }
  const Index base = core_->log().base().index;
  Index limit = std::min({machine_.durable(), core_->applied(), core_->log().persisted()});
  if (served_) {
    limit = std::min(limit, served_->image.index);
  }
  if (stored_bytes() <= host_.options_.log_keep_bytes) {
    const Index kept = std::min<Index>(host_.options_.log_keep_entries, limit);
    limit -= kept;
    const Instant recently = host_.reactor_.now() - host_.options_.group.election_max * 2;
    for (const auto& [node, progress] : core_->progress()) {
      if (progress.last_reply() >= recently && progress.state() != Progress::State::snapshot) {
        limit = std::min(limit, progress.match());
      }
    }
  }
  if (limit <= base) {
    return;
  }
  core_->compact(limit);
  const Status compacted = host_.log_->compact(group_, limit);
  if (!compacted.ok()) {
    LOG_WARN("group {}: the log keeps entries that are not needed: {}", group_.value(),
             compacted.error().message());
  }
  host_.mark_dirty(*this);
}

}  // namespace pangu::raft
