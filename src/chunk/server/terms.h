#pragma once
#include <map>
#include <string>

#include "base/result.h"
#include "env/env.h"
#include "runtime/sync.h"

// Which leaders may speak: the highest term that was heard from each stream group. A leader of a
// lower one was deposed, whatever it believes. Kept in <data>/terms.toml, so that a restart of this
// process does not let it speak again.
namespace pangu::chunk {

class Terms {
 public:
  explicit Terms(env::Env& env) : env_(env) {}

  // Reads what earlier lives heard. InvalidArgument: the file is damaged (named in the error).
  Status open(const std::string& directory);

  // Before anything is done for the leader of `group` at `term`. Ok: that term, or a later one, is
  // durable. Stale: a later one was heard. InvalidArgument: no stream group has this number.
  Task<Status> admit(u64 group, u64 term);
  // The answer to a leader that was admitted before, if it is still the last one.
  Status check(u64 group, u64 term) const;
  u64 refused() const { return refused_; }

 private:
  struct Heard {
    u64 term = 0;
    u64 change = 0;  // its place in the order of changes
  };
  Task<Status> save(u64 change);

  env::Env& env_;
  std::string path_;
  std::map<u64, Heard> heard_;
  u64 changes_ = 0;
  u64 saved_ = 0;  // changes that are durable
  bool saving_ = false;
  WaitList saved_more_;
  mutable u64 refused_ = 0;
};

}  // namespace pangu::chunk
