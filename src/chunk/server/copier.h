#pragma once
#include <map>
#include <memory>

#include "chunk/server/chunk_copy.h"
#include "chunk/server/source_links.h"
#include "wire/control.pb.h"

// Makes copies of settled chunks on this server's devices: some at a time, in the background, as fast
// as they may be. A copy that is asked for while it is being made is made once. What a copy leaves
// unfinished goes on when it is asked for again; nobody having done so for long, it is removed.
namespace pangu::chunk {

struct CopyCounters {
  u64 done = 0;
  u64 failed = 0;
  u64 resumed = 0;  // went on where an earlier attempt had ended
  u64 removed = 0;  // unfinished ones that nobody asked for again
  u64 bytes = 0;    // of units, fetched from other servers
};

class Copier {
 public:
  static constexpr u64 kRunningMax = 4;
  static constexpr size_t kAskedMax = 64;  // with those that wait for their turn; beyond it Busy
  static constexpr Duration kUnfinishedKept = seconds(600);

  // All must outlive stop().
  Copier(Reactor& reactor, const std::map<Uuid, ChunkStore*>& devices, const Terms& terms);
  void start(const rpc::Identity& identity);
  Task<void> stop();

  // The leader has been admitted. Answers as CopyChunkRequest says.
  Task<Result<pb::CopyChunkReply>> copy(CopyOrder order);

  const CopyCounters& counters() const { return counters_; }
  u64 running() const { return jobs_.size(); }

 private:
  struct Job {
    explicit Job(CopyOrder what) : order(std::move(what)) {}
    CopyOrder order;
    Event ended;
    Status status = Error(Code::kCancelled);
    u64 bytes = 0;
  };
  using Place = std::pair<Uuid, ChunkId>;
  Task<void> run(std::shared_ptr<Job> job);
  Task<Status> make(std::shared_ptr<Job> job);
  Task<void> tidy();
  Task<void> remove_abandoned();

  Reactor& reactor_;
  const std::map<Uuid, ChunkStore*>& devices_;
  const Terms& terms_;
  SourceLinks links_;
  CopyCounters counters_;
  std::map<Place, std::shared_ptr<Job>> jobs_;
  std::map<Place, Instant> unfinished_;  // since when nobody has cared for them
  Semaphore running_{kRunningMax};
  CopyStop stop_;
  Gate gate_;
};

}  // namespace pangu::chunk
