#pragma once
#include <set>
#include <string>
#include <vector>

#include "client/links.h"
#include "client/master_routes.h"
#include "client/partition_map.h"
#include "pangu/counters.h"
#include "pangu/options.h"
#include "runtime/sync.h"
#include "wire/proto.h"

// Calls to the masters' groups: finds each group's leader, repeats what may be repeated, and makes
// every change exactly once by its request id.
//
// Invariants
// 1. A Change keeps its request id through all its attempts; the id is reported as answered
//    (first_unanswered) only when the Change is gone.
// 2. Nothing is retried beyond the deadline.
// 3. A Change that may have been carried out by one group is never sent to another one.
// 4. kUnknownOutcome: an attempt may have been carried out, or may be yet. Every other error of a
//    change says that it did not happen and never will.
namespace pangu::client {

class MetaClient;

// Who is asked, and how.
struct Target {
  u64 group = 0;
  // What the answer Stale means: that the process has no member of the group, so that the partition
  // map is fetched again; or that the way in the request is old, which the caller has to cure.
  enum class Stale : u8 { map, way } stale = Stale::map;
  // How long the first attempt waits; 0: the usual short time, after which others are asked who
  // leads. Longer for what takes long by nature.
  Duration patience;
};

// One change to the metadata from its first attempt to its answer.
class Change {
 public:
  explicit Change(MetaClient& meta);
  ~Change();
  Change(const Change&) = delete;
  Change& operator=(const Change&) = delete;

  // An attempt may have been carried out, and no answer says what became of it.
  bool unknown() const { return unknown_in_ != 0; }
  // The last attempt was answered, with an error: what comes next is another change.
  // REQUIRES: !unknown()
  void renew();

 private:
  friend class MetaClient;
  MetaClient& meta_;
  u64 sequence_;
  u64 unknown_in_ = 0;  // group
};

class MetaClient {
 public:
  // `links` and `counters` must outlive it. REQUIRES: !masters.empty()
  MetaClient(Reactor& reactor, Links& links, std::vector<env::Address> masters, Uuid client,
             const ClientOptions& options, ClientCounters& counters);

  const PartitionMap& map() const { return map_; }
  // Returns with some map; kUnavailable if no master gave one in time.
  Task<Status> ensure_map(Instant deadline);
  // Fetches the map again, unless that was done a moment ago. Errors are not told: the map that is
  // here serves on.
  Task<void> refresh_map(Instant deadline);
  // The group that has the directory's entries, by the newest map there is.
  Task<Result<u64>> group_of_directory(u64 directory, Instant deadline);
  // The group's members do not seem to be where the map says.
  Task<void> doubt(u64 group, Instant deadline);

  // A question; `request` has a field `group`, which is filled here. kUnavailable when no leader
  // answered in time.
  template <class Reply, class Request>
  Task<Result<Reply>> ask(Target target, wire::Method method, Request request, Instant deadline) {
    request.set_group(target.group);
    auto answer = co_await exchange(target, method, request.SerializeAsString(), nullptr, deadline);
    co_return parse<Reply>(std::move(answer));
  }
  // One attempt after the other at `change`; `request` has fields `id` and `group`, which are
  // filled here. kUnavailable: surely nothing happened. `change` must outlive the task.
  template <class Reply, class Request>
  Task<Result<Reply>> change(Change& change, Target target, wire::Method method, Request request,
                             Instant deadline) {
    request.set_group(target.group);
    fill(*request.mutable_id(), change);
    auto answer = co_await exchange(target, method, request.SerializeAsString(), &change, deadline);
    co_return parse<Reply>(std::move(answer));
  }
  // The same for a change that goes to one group whatever happens.
  template <class Reply, class Request>
  Task<Result<Reply>> change(Target target, wire::Method method, Request request,
                             Instant deadline) {
    Change one(*this);
    auto reply = co_await change<Reply>(one, target, method, std::move(request), deadline);
    co_return reply;
  }
  // One call to one process, whatever it holds: no retries.
  template <class Reply, class Request>
  Task<Result<Reply>> call_process(env::Address to, wire::Method method, Request request,
                                   Instant deadline) {
    auto answer = co_await call_once(to, method, request.SerializeAsString(), deadline);
    co_return parse<Reply>(std::move(answer));
  }

  // From here on everything fails with kClosed.
  void stop();

 private:
  friend class Change;
  // How one exchange has fared.
  struct Attempts {
    u32 count = 0;
    u32 timeouts = 0;
    u32 redirects = 0;  // followed at once, in a row
    Instant failing_since = Instant::never();
    Duration pause;
    bool map_is_doubtful = false;
  };
  template <class Reply>
  static Result<Reply> parse(Result<Slice> answer) {
    if (!answer.ok()) {
      return std::move(answer).error();
    }
    Reply reply;
    if (!reply.ParseFromArray(answer->data(), static_cast<int>(answer->size()))) {
      return Error(Code::kBadFrame, "the master's reply does not parse");
    }
    return reply;
  }
  u64 take_sequence();
  void fill(pb::RequestId& id, const Change& change) const;
  // The reply's body, or the master's error.
  Task<Result<Slice>> exchange(Target target, wire::Method method, std::string body,
                               Change* change, Instant deadline);
  Task<Result<Slice>> call_once(env::Address to, wire::Method method, std::string body,
                                Instant deadline);
  Task<Status> fetch_map(Duration patience, Instant deadline);
  // What an answer that is not final says about whom to ask next. True: at once.
  bool note_trouble(const Target& target, const env::Address& to, Instant sent, const Error& error,
                    bool from_master, Attempts& attempts);
  Duration next_pause(Attempts& attempts);
  Duration patience(const Target& target, const Attempts& attempts) const;
  static Error conclude(Change* change, const Target& target, bool from_master, Error error);
  static Error give_up(const Change* change, wire::Method method, const Attempts& attempts,
                       const Error& last);

  Reactor& reactor_;
  Links& links_;
  PartitionMap map_;
  MasterRoutes routes_;
  const Uuid client_;
  const Duration attempt_first_;
  const Duration attempt_max_;
  ClientCounters& counters_;
  u64 next_sequence_ = 1;
  std::set<u64> outstanding_;
  bool fetching_map_ = false;
  std::optional<Instant> map_fetched_;
  size_t map_turn_ = 0;
  WaitList map_news_;
  bool stopped_ = false;
};

}  // namespace pangu::client
