#pragma once
#include "client/batch.h"
#include "client/batcher.h"
#include "client/meta_client.h"

// Questions what stands at places of directories, for many callers at once.
namespace pangu::client {

struct LookedUp {
  std::vector<pb::LookupAnswer> answers;  // in the order of the places, all of one moment
  u64 tree_epoch = 0;                     // of the group, then
};

class Lookups {
 public:
  enum class Kind : u8 {
    guess,   // ids may be wrong, and `seen` says nothing
    by_way,  // refused as Stale if a place's way is old; also for what others asked together with it
  };

  // All must outlive it.
  Lookups(Reactor& reactor, Gate& gate, MetaClient& meta, ClientCounters& counters);
  // At least one place, all of directories of `group`.
  Task<Result<LookedUp>> ask(u64 group, Kind kind, std::vector<pb::Place> places,
                             Instant deadline);

 private:
  using Question = std::vector<pb::Place>;
  using Answers = std::vector<Result<LookedUp>>;
  static Task<Answers> send(void* self, u64 lane, std::vector<Question> questions,
                            Instant deadline);
  Task<void> send_some(u64 lane, std::vector<Question> questions, Instant deadline,
                       Answers& answers);
  Task<Answers> send_merged(u64 lane, std::vector<Question> questions, Instant deadline);
  Task<void> send_alone(u64 lane, Question question, Instant deadline,
                        std::shared_ptr<Result<LookedUp>> answer, std::shared_ptr<Batch> batch);

  Reactor& reactor_;
  Gate& gate_;
  MetaClient& meta_;
  ClientCounters& counters_;
  Batcher<Question, LookedUp> batcher_;
};

}  // namespace pangu::client
