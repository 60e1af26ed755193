#include "raft/core/read_queue.h"

namespace pangu::raft {

void LeaderReads::start_round(u64 round, Index commit) {
  for (Read& read : waiting_) {
    read.index = commit;
    read.round = round;
    asked_.push_back(read);
  }
  waiting_.clear();
}

std::vector<LeaderReads::Read> LeaderReads::confirmed(u64 round) {
  std::vector<Read> out;
  while (!asked_.empty() && asked_.front().round <= round) {
    out.push_back(asked_.front());
    asked_.pop_front();
  }
  return out;
}

std::vector<LeaderReads::Read> LeaderReads::clear() {
  std::vector<Read> out(asked_.begin(), asked_.end());
  out.insert(out.end(), waiting_.begin(), waiting_.end());
  asked_.clear();
  waiting_.clear();
  return out;
}

u64 ForwardedReads::start_request(Instant now) {
  size_ += waiting_.size();
  requests_.push_back({next_id_, now, std::move(waiting_)});
  waiting_.clear();
  return next_id_++;
}

std::vector<u64> ForwardedReads::answered(u64 id) {
  for (auto request = requests_.begin(); request != requests_.end(); ++request) {
    if (request->id == id) {
      std::vector<u64> out = std::move(request->contexts);
      size_ -= out.size();
      requests_.erase(request);
      return out;
    }
  }
  return {};
}

Instant ForwardedReads::oldest() const {
  return requests_.empty() ? Instant::never() : requests_.front().asked;
}

std::vector<u64> ForwardedReads::expire(Instant asked_before) {
  std::vector<u64> out;
  while (!requests_.empty() && requests_.front().asked < asked_before) {
    const Request& request = requests_.front();
    size_ -= request.contexts.size();
    out.insert(out.end(), request.contexts.begin(), request.contexts.end());
    requests_.pop_front();
  }
  if (asked_before == Instant::never()) {
    out.insert(out.end(), waiting_.begin(), waiting_.end());
    waiting_.clear();
  }
  return out;
}

}  // namespace pangu::raft
