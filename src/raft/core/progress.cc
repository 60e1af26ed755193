#include "raft/core/progress.h"

#include <algorithm>

#include "base/reached.h"

namespace pangu::raft {

void Progress::become_probe() {
  next_ = match_ + 1;
  state_ = State::probe;
  clear_window();
}

void Progress::become_replicate() {
  state_ = State::replicate;
  next_ = match_ + 1;
  clear_window();
}

void Progress::become_snapshot(Instant now) {
  state_ = State::snapshot;
  clear_window();
  snapshot_asked_ = now;
}

void Progress::clear_window() {
  probe_sent_ = false;
  probe_due_ = false;
  match_at_heartbeat_ = 0;
  window_.clear();
  window_bytes_ = 0;
}

void Progress::free_first() {
  window_bytes_ -= window_.front().bytes;
  window_.pop_front();
}

bool Progress::may_send(const Options& options) const {
  if (fetching_ || state_ == State::snapshot) {
    return false;
  }
  if (state_ == State::probe) {
    return !probe_sent_;
  }
  return window_.empty() || (window_bytes_ < options.inflight_bytes_max &&
                             window_.size() < options.inflight_messages_max);
}

bool Progress::may_send_empty() const {
  return state_ == State::replicate || (state_ == State::probe && !probe_sent_);
}

void Progress::on_sent(Index last, u64 bytes) {
  probe_due_ = false;
  if (state_ == State::probe) {
    probe_sent_ = true;
    return;
  }
  if (last >= next_) {
    next_ = last + 1;
    window_.push_back({last, bytes});
    window_bytes_ += bytes;
  }
}

bool Progress::on_accepted(Index index) {
  const bool news = index > match_;
  match_ = std::max(match_, index);
  next_ = std::max(next_, match_ + 1);
  if (state_ == State::probe && index >= match_) {
    become_replicate();
  } else if (state_ == State::replicate) {
    while (!window_.empty() && window_.front().last <= index) {
      free_first();
    }
  }
  return news;
}

bool Progress::on_rejected(Index previous, Index hint) {
  if (state_ == State::snapshot || previous <= match_) {
    return false;
  }
  if (state_ == State::replicate) {
    // Appends were sent in the belief that all before arrived; something in between was lost.
    REACHED("raft: an append was lost on the way to a follower");
    become_probe();
    return true;
  }
  if (previous + 1 != next_) {
    return false;
  }
  next_ = std::max(std::min(previous, hint + 1), match_ + 1);
  probe_sent_ = false;
  return true;
}

void Progress::on_heartbeat_reply(u64 round, Index last) {
  round_ = std::max(round_, round);
  probe_sent_ = false;
  if (state_ != State::replicate || match_ >= last) {
    return;
  }
  if (match_ == match_at_heartbeat_) {
    // Nothing was acknowledged since the last answer: the last appends may be lost. The next one
    // is refused if so, and shows where to go on.
    probe_due_ = true;
    if (!window_.empty()) {
      free_first();
    }
  }
  match_at_heartbeat_ = match_;
}

void Progress::on_unreadable() {
  become_probe();
  probe_sent_ = true;
}

void Progress::on_unreachable() {
  if (state_ == State::replicate) {
    become_probe();
  }
  probe_sent_ = false;
}

}  // namespace pangu::raft
