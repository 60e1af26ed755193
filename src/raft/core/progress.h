#pragma once
#include <deque>

#include "raft/core/types.h"

// What a leader knows of one other member, and how fast it may send to it.
//
// probe      where the logs part is not known: one append, then an answer or a heartbeat's answer
// replicate  appends follow each other without waiting, up to a window of bytes and messages
// snapshot   the log does not reach back far enough: no appends until a snapshot is in place
namespace pangu::raft {

class Progress {
 public:
  enum class State : u8 { probe, replicate, snapshot };

  Progress(Index next, Instant now) : next_(next), last_reply_(now) {}

  State state() const { return state_; }
  Index match() const { return match_; }  // known to be durable there, and the leader's
  Index next() const { return next_; }    // the first that was not sent

  void become_probe();
  void become_replicate();
  void become_snapshot(Instant now);
  Instant snapshot_asked() const { return snapshot_asked_; }

  // May an append with entries leave now?
  bool may_send(const Options& options) const;
  // May one without, to carry the commit index or to find a loss?
  bool may_send_empty() const;
  void on_sent(Index last, u64 bytes);
  void on_sent_commit(Index commit) { sent_commit_ = commit; }
  Index sent_commit() const { return sent_commit_; }

  // Everything up to `index` is there. False if that is old news.
  bool on_accepted(Index index);
  // The append after `previous` did not match; go on after `hint`. False if that is old news.
  bool on_rejected(Index previous, Index hint);
  // An answer to a heartbeat: the member lives, so what was waited for may be lost.
  void on_heartbeat_reply(u64 round, Index last);
  // What it needs could not be read: wait for its next answer.
  void on_unreadable();
  // The connection was lost.
  void on_unreachable();

  void touch(Instant now) { last_reply_ = now; }
  Instant last_reply() const { return last_reply_; }
  u64 round() const { return round_; }
  bool probe_due() const { return probe_due_; }

  bool fetching() const { return fetching_; }
  void set_fetching(bool fetching) { fetching_ = fetching; }

 private:
  struct Sent {
    Index last = 0;
    u64 bytes = 0;
  };
  void clear_window();
  void free_first();

  State state_ = State::probe;
  Index match_ = 0;
  Index next_ = 1;
  Index sent_commit_ = 0;
  Instant last_reply_;
  u64 round_ = 0;
  bool probe_sent_ = false;  // probe: an answer is awaited
  bool probe_due_ = false;   // an empty append shall find out whether something was lost
  // The driver reads entries for it from disk: one request at a time, whatever happens meanwhile.
  bool fetching_ = false;
  Index match_at_heartbeat_ = 0;  // replicate: to see a standstill
  Instant snapshot_asked_;        // snapshot: when one was last asked for
  std::deque<Sent> window_;
  u64 window_bytes_ = 0;
};

}  // namespace pangu::raft
