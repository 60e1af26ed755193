#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/task.h"

// The ordered key-value store under a group's state machine. Keys are compared bytewise.
//
// Invariants
// 1. A batch becomes visible as a whole, and is kept or lost as a whole at a crash.
// 2. After a crash the store holds exactly the batches up to some point that is not before the last
//    flush() that succeeded. The log is replayed on top; so nothing here needs a log of its own.
// 3. One task at a time applies, one flushes; readers may run beside both.
namespace pangu::master {

struct KvEntry {
  std::string key;
  std::string value;
};

struct KvPage {
  std::vector<KvEntry> entries;  // ascending
  bool more = false;             // the limit ended the scan, not the range
};

// Errors of both members:
//   kBusy   the answer is not in memory and this reader must not wait for a disk: ask
//           Kv::blocking_view() from a background thread
//   others  the store is damaged or its disk failed
class KvReader {
 public:
  virtual ~KvReader() = default;
  virtual Result<std::optional<std::string>> get(std::string_view key) const = 0;
  // The first `limit` entries of [from, to).
  virtual Result<KvPage> scan(std::string_view from, std::string_view to, size_t limit) const = 0;
};

// What one command changes: a value, or nothing for a deletion.
using KvBatch = std::map<std::string, std::optional<std::string>, std::less<>>;

enum class MayWait : u8 { no, yes };

// Another content for a store, built beside the one that it goes on serving: how a copy of a group
// takes over a snapshot. Dropped without commit(), it leaves nothing behind. Must not outlive the
// store; one at a time.
class KvReplacement {
 public:
  virtual ~KvReplacement() = default;
  // May wait for a disk: for a background thread, where there is one. A key may come again.
  virtual Status add(const KvBatch& batch) = 0;
  // When it returns ok the store holds exactly what was added, durably. A crash before that, or an
  // error, leaves the content from before. Views made earlier go on showing that.
  // REQUIRES: nothing is applied or flushed meanwhile
  virtual Task<Status> commit() = 0;
};

class Kv : public KvReader {
 public:
  // Not durable until flush(). With MayWait::no it answers kBusy, having done nothing, rather than
  // wait for a disk; MayWait::yes is for a background thread. kNoSpace: nothing was done, it may be
  // tried again.
  virtual Status apply(const KvBatch& batch, MayWait may_wait) = 0;
  // What was applied before the call survives a crash when it returns ok.
  virtual Task<Status> flush() = 0;
  virtual std::unique_ptr<KvReplacement> begin_replacement() = 0;
  // A consistent view as of now whose reads may wait for a disk. Must not outlive the store.
  virtual std::unique_ptr<KvReader> blocking_view() const = 0;
  // REQUIRES: no other call is running. After it only destruction is allowed.
  virtual Task<void> close() = 0;
};

// Every key is below it.
inline constexpr std::string_view kKeysEnd = "\xff";

// A hash over every key and value, in order: equal contents give equal hashes.
Result<u64> content_hash(const KvReader& kv);

// The smallest key that is greater than every key with this prefix; empty if there is none.
// REQUIRES: `prefix` holds a byte other than 0xff
std::string prefix_end(std::string_view prefix);

}  // namespace pangu::master
