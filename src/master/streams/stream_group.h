#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "master/state/state_machine.h"
#include "master/state/txn.h"
#include "runtime/sync.h"
#include "wire/control.pb.h"

namespace pangu::master {

// What the loops of a stream group's leader need of the group; streams/group_access.h is the real
// one.
class StreamGroup {
 public:
  virtual ~StreamGroup() = default;
  virtual u64 id() const = 0;
  // The term in which this copy leads the group at this moment. 0: it does not.
  virtual u64 leading_term() const = 0;
  virtual bool closing() const = 0;
  // Wakes when there are more orders or chunks that lack copies, the leader or the servers change,
  // and when the group closes.
  virtual WaitList& news() = 0;
  // Shows what is applied. `look` changes nothing; it may run on a background thread, and again
  // there after a first try here.
  virtual Task<Status> look(std::function<void(Txn&)> look) = 0;
  // One of the group's own commands. Errors: as Group::execute(), or the command's own.
  virtual Task<Status> execute(InternalMethod method, std::string request, Instant deadline) = 0;
  // Every registered server, as the root knows it.
  virtual std::vector<pb::ServerInfo> servers() = 0;
};

// f(Txn&) -> T, a value: what the state says. `f` is as above, and owns what it refers to.
template <class F>
Task<Result<std::invoke_result_t<F&, Txn&>>> ask(StreamGroup& group, F f) {
  std::optional<std::invoke_result_t<F&, Txn&>> answer;
  std::function<void(Txn&)> look = [&f, &answer](Txn& txn) { answer.emplace(f(txn)); };
  auto looked = co_await group.look(std::move(look));
  if (!looked.ok()) {
    co_return std::move(looked).error();
  }
  co_return std::move(*answer);
}

}  // namespace pangu::master
