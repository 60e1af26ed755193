#include "client/append_queue.h"

#include <algorithm>

#include "wire/unit.h"

namespace pangu::client {

void AppendQueue::push(PendingAppend& append) {
  CHECK(!append.bytes.empty());
  append.offset = end_;
  end_ += append.bytes.size();
  list_.push_back(append);
  if (cut_in_ == nullptr) {
    cut_in_ = &append;
  }
}

AppendQueue::Plan AppendQueue::plan_run(u32 room) {
  pieces_.clear();
  u32 length = 0;
  u32 left = std::min(room, wire::kRunDataMax);
  u64 at = cut_;
  for (PendingAppend* append = cut_in_; append != nullptr && left > 0;
       append = list_.next(*append)) {
    const Bytes rest = append->bytes.subspan(at - append->offset);
    if (append->record) {
      const u32 in_unit = length % wire::kUnitDataMax;
      if (rest.size() > left || (in_unit != 0 && in_unit + rest.size() > wire::kUnitDataMax)) {
        break;
      }
    }
    const u32 step = static_cast<u32>(std::min<u64>(rest.size(), left));
    pieces_.push_back(rest.first(step));
    length += step;
    left -= step;
    at += step;
  }
  return {.pieces = pieces_, .length = length};
}

void AppendQueue::mark_cut(u32 length) {
  cut_ += length;
  CHECK(cut_ <= end_);
  while (cut_in_ != nullptr && cut_in_->end() <= cut_) {
    cut_in_ = list_.next(*cut_in_);
  }
}

void AppendQueue::uncut() {
  cut_ = acked_;
  cut_in_ = list_.front();
}

}  // namespace pangu::client
