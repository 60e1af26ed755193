#include <fmt/format.h>

#include "base/log.h"
#include "base/reached.h"
#include "raft/driver/host.h"
#include "runtime/await.h"

// Carrying out what the core says: messages, writes, commands, reads.
namespace pangu::raft {
namespace {

constexpr Duration kComplainEvery = seconds(1);

}  // namespace

// ---- events ----

void Replica::step(Message message) {
  if (core_ == nullptr || failure_ || closed_) {
    return;
  }
  ++counters_.messages_received;
  const Instant now = host_.reactor_.now();
  const Status done = core_->step(now, std::move(message));
  host_.mark_dirty(*this);
  if (!done.ok()) {
    ++counters_.contradictions;
    if (complained_ + kComplainEvery <= now) {
      complained_ = now;
      LOG_ERROR("group {}: a message of another member was ignored: {}", group_.value(),
                done.error().message());
    }
  }
}

void Replica::tick(Instant now) {
  if (core_ != nullptr && !failure_ && !closed_) {
    core_->tick(now);
    host_.mark_dirty(*this);
  }
}

void Replica::peer_unreachable(NodeId peer) {
  if (core_ != nullptr && !failure_ && !closed_) {
    core_->tick(host_.reactor_.now());
    core_->report_unreachable(peer);
    host_.mark_dirty(*this);
  }
}

void Replica::drive() {
  dirty_ = false;
  if (core_ == nullptr || failure_ || closed_) {
    return;
  }
  start_reads();
  for (;;) {
    raft::Ready ready = core_->ready();
    if (ready.empty()) {
      break;
    }
    carry_out(std::move(ready));
  }
  note_changes();
  host_.set_deadline(*this, core_->next_deadline());
}

void Replica::note_changes() {
  const bool leads_now = core_->role() == Role::leader;
  if (leads_now != led_ || core_->leader() != leader_seen_) {
    led_ = leads_now;
    leader_seen_ = core_->leader();
    changed_.wake_all();
  }
  host_.watch(*this);
}

void Replica::carry_out(raft::Ready ready) {
  for (Message& message : ready.messages) {
    host_.transport_.send(group_, std::move(message));
  }
  if (ready.write != 0) {
    queue_write(ready);
  }
  if (!ready.committed.empty()) {
    apply_to_ = std::max(apply_to_, ready.committed.last);
    if (!applying_) {
      applying_ =
          gate_.spawn(host_.reactor_, "raft apply", TaskClass::foreground, apply_loop());
    }
  }
  for (const ReadState& state : ready.reads) {
    auto reads = reads_.extract(state.context);
    if (!reads.empty()) {
      for (const auto& read : reads.mapped()) {
        read->index = state.index;
        read->done.set();
      }
    }
  }
  for (const u64 context : ready.reads_failed) {
    auto reads = reads_.extract(context);
    if (!reads.empty()) {
      for (const auto& read : reads.mapped()) {
        read->error = Error(Code::kUnavailable);
        read->done.set();
      }
    }
  }
  for (const EntryFetch& wanted : ready.fetches) {
    gate_.spawn(host_.reactor_, "raft fetch", TaskClass::control, fetch(wanted));
  }
  for (const NodeId to : ready.snapshots_wanted) {
    want_snapshot(to);
  }
  if (ready.snapshot_fetch) {
    gate_.spawn(host_.reactor_, "raft pull", TaskClass::repair,
                      pull(std::move(*ready.snapshot_fetch)));
  }
}

// ---- writes ----

// Joins what waits: of entries that the core cut again, only what the log will hold is left.
void Replica::queue_write(raft::Ready& ready) {
  if (!pending_write_) {
    pending_write_.emplace();
    pending_write_->write.group = group_;
  }
  PendingWrite& pending = *pending_write_;
  pending.number = ready.write;
  if (ready.install) {
    CHECK(pulled_ && pulled_->meta == *ready.install);
    pending.write.install = std::move(ready.install);
    pending.write.entries.clear();
    pending.install = std::exchange(pulled_, std::nullopt);
  }
  if (ready.hard_state) {
    pending.write.hard_state = ready.hard_state;
  }
  if (!ready.entries.empty()) {
    Entries& entries = pending.write.entries;
    const Index first = ready.entries.front().index;
    while (!entries.empty() && entries.back().index >= first) {
      REACHED("raft host: entries were cut before they were written");
      entries.pop_back();
    }
    if (entries.empty()) {
      entries = std::move(ready.entries);
    } else {
      entries.insert(entries.end(), std::make_move_iterator(ready.entries.begin()),
                     std::make_move_iterator(ready.entries.end()));
    }
  }
  if (!writing_) {
    writing_ = gate_.spawn(host_.reactor_, "raft write", TaskClass::control, write_loop());
  }
}

Task<void> Replica::write_loop() {
  while (pending_write_ && usable().ok()) {
    PendingWrite pending = std::move(*pending_write_);
    pending_write_.reset();
    if (pending.install) {
      const Status installed = co_await install(*pending.install);
      if (!installed.ok()) {
        if (usable().ok()) {
          fail(installed.error());
        }
        break;
      }
    }
    const Status written = co_await write_durably(pending.write);
    if (!written.ok()) {
      if (written.code() != Code::kClosed) {
        host_.fail(written.error());
      }
      break;
    }
    ++counters_.writes;
    if (pending.install) {
      host_.forget_install(group_);
      ++counters_.snapshots_installed;
    }
    if (!usable().ok()) {
      break;
    }
    core_->on_persisted(pending.number);
    host_.mark_dirty(*this);
  }
  writing_ = false;
}

// While the disk is full the write stays open: the group goes on without this member, and if that
// leads it tries to give the leadership away.
Task<Status> Replica::write_durably(const LogWrite& write) {
  for (;;) {
    LogWrite copy = write;
    auto written = co_await host_.log_->write(std::move(copy));
    if (written.code() != Code::kNoSpace) {
      no_space_ = false;
      co_return written;
    }
    CO_TRY_VOID(usable());
    if (!no_space_) {
      REACHED("raft host: the log's disk is full");
      LOG_ERROR("group {}: {}", group_.value(), written.error().message());
    }
    no_space_ = true;
    give_away();
    co_await closing_.wait(host_.reactor_.now() + host_.options_.no_space_retry);
    CO_TRY_VOID(usable());
  }
}

// To the voter that has most of the log.
void Replica::give_away() {
  if (!leads() || core_->transferee() != kNobody) {
    return;
  }
  core_->tick(host_.reactor_.now());
  NodeId best;
  Index held = 0;
  for (const auto& [node, progress] : core_->progress()) {
    if (core_->configuration().is_voter(node) && progress.match() > held) {
      held = progress.match();
      best = node;
    }
  }
  if (best != kNobody && core_->transfer_leader(best).ok()) {
    host_.mark_dirty(*this);
  }
}

// ---- commands ----

Task<void> Replica::apply_loop() {
  while (applied_ < apply_to_ && usable().ok()) {
    co_await machine_lock_.take(1);
    const Status applied = co_await apply_some();
    machine_lock_.give(1);
    if (!applied.ok()) {
      if (applied.code() != Code::kClosed && usable().ok()) {
        fail(applied.error());
      }
      break;
    }
  }
  applying_ = false;
}

Task<Status> Replica::apply_some() {
  if (applied_ >= apply_to_) {
    co_return ok_status();  // a snapshot was installed meanwhile
  }
  const IndexRange range{applied_ + 1, apply_to_};
  auto fetched = co_await host_.log_->fetch(group_, range, host_.options_.apply_bytes_max);
  CO_TRY_VOID(usable());
  CO_TRY(entries, std::move(fetched));
  auto applied = co_await apply_entries(std::move(entries));
  if (usable().ok()) {
    core_->on_applied(applied_);
    host_.mark_dirty(*this);
  }
  co_return applied;
}

Task<Status> Replica::apply_entries(Entries entries) {
  for (Entry& entry : entries) {
    if (entry.index != applied_ + 1) {
      co_return Error(Code::kCorrupt,
                      fmt::format("the log gave entry {} where {} belongs", entry.index,
                                  applied_ + 1));
    }
    if (entry.kind == EntryKind::command) {
      auto applied = co_await machine_.apply(entry.index, std::move(entry.payload));
      CO_TRY_VOID(std::move(applied));
      ++counters_.applied;
    }
    applied_ = entry.index;
    settle(entry.id());
    applied_changed_.wake_all();
    co_await yield_if_expired();
    CO_TRY_VOID(usable());
  }
  co_return ok_status();
}

// ---- entries for members that are behind ----

Task<void> Replica::fetch(EntryFetch wanted) {
  auto fetched = co_await host_.log_->fetch(group_, wanted.range, wanted.bytes_max);
  if (!usable().ok()) {
    co_return;
  }
  if (!fetched.ok()) {
    REACHED("raft host: entries for a follower could not be read");
    LOG_WARN("group {}: entries from {} on for member {} cannot be read now: {}", group_.value(),
             wanted.range.first, wanted.to.value(), fetched.error().message());
  }
  core_->on_fetched(wanted.to, fetched.ok() ? std::move(*fetched) : Entries());
  host_.mark_dirty(*this);
}

}  // namespace pangu::raft
