#pragma once
#include <optional>
#include <string>

#include "base/prng.h"
#include "pangu/client.h"
#include "sim/history.h"

// A small tree that many clients change at once, and the history of what they did. It needs a
// client and a reactor only: simulated clusters and real ones are tried with it.
namespace pangu::sim {

class SharedTree {
 public:
  // Everything happens below `root`, a directory that exists (and stays), to nobody else's
  // knowledge.
  explicit SharedTree(std::string root) : root_(std::move(root)) {}
  SharedTree(const SharedTree&) = delete;
  SharedTree& operator=(const SharedTree&) = delete;

  // A number for one more client in the history.
  u32 new_client() { return ++clients_; }
  // A call that has a good chance to meet those of others: names are few, paths are those that
  // somebody just used, directories are moved against each other.
  NamespaceOp draw(Prng& prng);
  // Makes the call and records it; returns what it was answered, kOk if so. kInternal: something
  // that no caller may be told; the history is then worth nothing. If the task is destroyed on its
  // way, the outcome is recorded as unknown. All arguments must outlive the task.
  Task<Status> perform(client::Client& client, Reactor& reactor, u32 number, NamespaceOp op);
  // Lists everything, once nobody changes it any more. An error: the first that is not worth trying
  // again, or that comes still after `patience`.
  Task<Status> read_all(client::Client& client, Reactor& reactor, Duration patience);
  // kOk, or kInternal with a report: there is no order that explains the history.
  Status check() const;

  const std::string& root() const { return root_; }
  const History& history() const { return history_; }
  // How often a call's outcome is not known so far.
  u64 unknown() const { return unknown_; }

 private:
  std::string draw_path(Prng& prng) const;
  std::string draw_known(Prng& prng) const;      // likely to be there
  std::string draw_new(Prng& prng) const;        // likely not to be there, unlike its parent
  std::string draw_directory(Prng& prng) const;  // or the root
  NamespaceOp draw_rename(Prng& prng) const;
  std::string full(const std::string& path) const {
    return path.empty() ? root_ : root_ + "/" + path;
  }
  Task<Result<NamespaceAnswer>> call(client::Client& client, NamespaceOp op) const;
  // Takes in the answer; kInternal as perform() says.
  Status record(size_t number, Result<NamespaceAnswer> answer, Instant now);

  const std::string root_;
  History history_;
  u32 clients_ = 0;
  u64 unknown_ = 0;
  NamespaceTree likely_;  // what the tree may look like
  NamespaceOp last_;      // drawn
  NamespaceOp last_rename_;
};

}  // namespace pangu::sim
