#pragma once
#include <map>
#include <memory>

#include "base/time.h"
#include "master/state/kv.h"

// States of a group that somebody reads page by page: each stays as it was when it was begun, until
// nobody has asked for a minute.
namespace pangu::master {

class ScanViews {
 public:
  struct View {
    std::unique_ptr<KvReader> reader;
    u64 index = 0;  // of the last command in it
    Instant used;
  };
  // The number of a new view. kBusy: as many as may be are open.
  Result<u64> begin(std::unique_ptr<KvReader> reader, u64 index, Instant now);
  // kStale: it was not used for too long, or this process never had it.
  Result<std::shared_ptr<View>> find(u64 number, Instant now);
  void end(u64 number) { views_.erase(number); }
  void clear() { views_.clear(); }

 private:
  void expire(Instant now);
  u64 next_ = 1;
  std::map<u64, std::shared_ptr<View>> views_;
};

}  // namespace pangu::master
