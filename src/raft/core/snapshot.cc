#include "base/reached.h"
#include "raft/core/core.h"

// Members that the log no longer reaches (paper 7). The core agrees on which snapshot; the state
// itself travels between drivers.
namespace pangu::raft {

void Core::want_snapshot(NodeId to, Progress& progress) {
  REACHED("raft: a member needs a snapshot");
  progress.become_snapshot(now_);
  out_.snapshots_wanted.push_back(to);
}

// An offer, its answer, the fetching member or its work may have been lost: ask again, for ever. A
// member that is busy with one ignores the others.
void Core::retry_snapshots() {
  for (auto& [node, progress] : progress_) {
    if (progress.state() == Progress::State::snapshot &&
        now_ - progress.snapshot_asked() >= options_.election_max) {
      want_snapshot(node, progress);
    }
  }
}

void Core::offer_snapshot(NodeId to, SnapshotMeta meta) {
  const auto found = progress_.find(to);
  if (role_ != Role::leader || found == progress_.end() ||
      found->second.state() != Progress::State::snapshot || meta.id.index < log_.base().index) {
    return;
  }
  send(to, SnapshotOffer{std::move(meta)});
}

void Core::on(const Message& message, SnapshotOffer& body) {
  hear_leader(message.from);
  if (!contradiction_.ok()) {
    return;
  }
  if (body.meta.id.index <= commit_) {
    acknowledge(commit_);
  } else if (log_.summary().holds(body.meta.id)) {
    REACHED("raft: a snapshot of what the log holds already");
    acknowledge(body.meta.id.index);
    advance_commit(body.meta.id.index);
  } else if (!fetching_) {
    fetching_ = body.meta;
    out_.snapshot_fetch = SnapshotFetch{message.from, std::move(body.meta)};
  }
}

void Core::on_snapshot_fetched(const SnapshotMeta& meta) {
  if (fetching_ != meta) {
    return;
  }
  fetching_.reset();
  if (role_ != Role::follower || meta.id.index <= commit_ || log_.summary().holds(meta.id)) {
    REACHED("raft: a snapshot came too late to be of use");
    return;
  }
  log_.reset(meta);
  commit_ = meta.id.index;
  applied_ = meta.id.index;
  apply_handed_ = meta.id.index;
  install_due_ = true;
  matched_ = 0;
  acknowledged_ = 0;
  // Committed, so it is in the log of whoever leads now.
  acknowledge(meta.id.index);
}

void Core::on_snapshot_failed(const SnapshotMeta& meta) {
  if (fetching_ == meta) {
    fetching_.reset();
  }
}

}  // namespace pangu::raft
