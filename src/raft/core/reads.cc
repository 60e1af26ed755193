#include "base/reached.h"
#include "raft/core/core.h"

// Linearizable reads (paper 8, thesis 6.4).
namespace pangu::raft {

Status Core::read_index(u64 context) {
  if (leader_reads_.size() + forwarded_reads_.size() >= options_.reads_max) {
    return Error(Code::kBusy, "too many reads wait");
  }
  if (role_ == Role::leader) {
    wake();
    busy_at_ = now_;
    leader_reads_.add(options_.self, context);
    return ok_status();
  }
  if (leader_ == kNobody) {
    return Error(Code::kUnavailable, "no leader is known");
  }
  wake();
  forwarded_reads_.add(context);
  return ok_status();
}

void Core::start_read_rounds() {
  if (leader_reads_.round_due() && (has_committed_in_term() || !RAFT_RULE(read_after_own_commit))) {
    broadcast_heartbeat(false);
  }
}

void Core::finish_reads(u64 round) {
  for (const LeaderReads::Read& read : leader_reads_.confirmed(round)) {
    answer_read(read);
  }
}

void Core::answer_read(const LeaderReads::Read& read) {
  if (read.from == options_.self) {
    out_.reads.push_back({read.context, read.index});
  } else {
    send(read.from, ReadReply{read.context, read.index});
  }
}

// Leadership or the leader was lost: the answer may never come.
void Core::fail_reads() {
  for (const LeaderReads::Read& read : leader_reads_.clear()) {
    if (read.from == options_.self) {
      out_.reads_failed.push_back(read.context);
    }
  }
  for (const u64 context : forwarded_reads_.clear()) {
    out_.reads_failed.push_back(context);
  }
}

void Core::on(const Message& message, ReadRequest& body) {
  if (role_ != Role::leader || leader_reads_.size() >= options_.reads_max) {
    return;
  }
  busy_at_ = now_;
  leader_reads_.add(message.from, body.id);
}

void Core::on(const Message&, ReadReply& body) {
  for (const u64 context : forwarded_reads_.answered(body.id)) {
    out_.reads.push_back({context, body.index});
  }
}

}  // namespace pangu::raft
