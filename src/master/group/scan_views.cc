#include "master/group/scan_views.h"

namespace pangu::master {
namespace {

constexpr size_t kViewsMax = 4;
constexpr Duration kIdle = seconds(60);

}  // namespace

void ScanViews::expire(Instant now) {
  std::erase_if(views_, [&](const auto& item) { return now - item.second->used > kIdle; });
}

Result<u64> ScanViews::begin(std::unique_ptr<KvReader> reader, u64 index, Instant now) {
  expire(now);
  if (views_.size() >= kViewsMax) {
    return Error(Code::kBusy, "as many scans of this group's state as may be are under way");
  }
  const u64 number = next_++;
  views_.emplace(number, std::make_shared<View>(View{std::move(reader), index, now}));
  return number;
}

Result<std::shared_ptr<ScanViews::View>> ScanViews::find(u64 number, Instant now) {
  expire(now);
  const auto found = views_.find(number);
  if (found == views_.end()) {
    return Error(Code::kStale, "that scan is not known here any more; begin again");
  }
  found->second->used = now;
  return found->second;
}

}  // namespace pangu::master
