#include "client/stream_cache.h"

#include <algorithm>

#include "base/log.h"

namespace pangu::client {

namespace {
constexpr Duration kRelocatePause = seconds(1);
constexpr u32 kAheadCounted = 64;
}  // namespace

const OpenChunk* StreamView::next_existing(size_t index) const {
  for (size_t i = index + 1; i < open_.size(); ++i) {
    if (open_[i].exists) {
      return &open_[i];
    }
  }
  return nullptr;
}

std::optional<StreamView::Ahead> StreamView::known_ahead(u64 offset) const {
  auto next = settled_.upper_bound(offset);
  if (next == settled_.begin() || offset >= std::prev(next)->second.end()) {
    return std::nullopt;
  }
  Ahead out{.end = std::prev(next)->second.end()};
  for (; next != settled_.end() && next->first == out.end && out.chunks < kAheadCounted; ++next) {
    ++out.chunks;
    out.end = next->second.end();
  }
  return out;
}

std::optional<StreamView::Span> StreamView::find(u64 offset) const {
  const auto after = settled_.upper_bound(offset);
  if (after != settled_.begin()) {
    const ChunkPlace& place = std::prev(after)->second;
    if (offset < place.end()) {
      return Span{.place = place, .settled = true, .base = place.base, .end = place.end()};
    }
  }
  for (size_t i = 0; i < open_.size(); ++i) {
    const OpenChunk& chunk = open_[i];
    if (!chunk.exists || chunk.base > offset) {
      continue;
    }
    const OpenChunk* next = next_existing(i);
    // That a later chunk was created proves that everything below its base was acknowledged.
    const u64 end = next != nullptr ? next->base : chunk.committed;
    if (offset < end) {
      return Span{.place = chunk.place, .settled = false, .base = chunk.base, .end = end};
    }
  }
  return std::nullopt;
}

void StreamView::merge(const StreamSnapshot& snapshot) {
  for (const ChunkPlace& chunk : snapshot.chunks) {
    if (chunk.state == ChunkState::sealed && chunk.length > 0) {
      ChunkPlace& known = settled_[chunk.base];
      if (known.version <= chunk.version) {
        known = chunk;
      }
    }
  }
  settled_length_ = std::max(settled_length_, snapshot.settled_length);
  if (snapshot.epoch >= epoch_) {
    epoch_ = snapshot.epoch;
    state_ = snapshot.state;
    std::vector<OpenChunk> open;
    for (const ChunkPlace& chunk : snapshot.chunks) {
      if (chunk.state != ChunkState::open) {
        continue;
      }
      OpenChunk& entry = open.emplace_back(OpenChunk{.place = chunk});
      const auto known = std::find_if(open_.begin(), open_.end(), [&](const OpenChunk& each) {
        return each.place.id == chunk.id;
      });
      if (known != open_.end()) {
        entry = *known;
        entry.place = chunk;
      }
    }
    open_ = std::move(open);
  }
  recompute_length();
}

void StreamView::learn(u32 sequence, const wire::WatchReply& reply) {
  for (OpenChunk& chunk : open_) {
    if (chunk.place.id.sequence != sequence || reply.exists == 0) {
      continue;
    }
    if (chunk.exists && chunk.base != reply.base) {
      LOG_ERROR("chunk {}: one replica says that it begins at {}, another at {}",
                to_string(chunk.place.id), chunk.base, reply.base);
      return;
    }
    chunk.exists = true;
    chunk.base = reply.base;
    chunk.committed = std::max({chunk.committed, chunk.base, reply.committed});
    chunk.ended = chunk.ended || reply.fenced_or_closed != 0 || reply.finalized != 0;
  }
  recompute_length();
}

void StreamView::learn_use(u32 sequence, u64 base, u64 committed) {
  for (OpenChunk& chunk : open_) {
    if (chunk.place.id.sequence == sequence) {
      chunk.exists = true;
      chunk.base = base;
      chunk.committed = std::max(chunk.committed, committed);
    }
  }
  recompute_length();
}

void StreamView::learn_committed(u32 sequence, u64 committed) {
  for (OpenChunk& chunk : open_) {
    if (chunk.place.id.sequence == sequence && chunk.exists) {
      chunk.committed = std::max(chunk.committed, committed);
    }
  }
  recompute_length();
}

StreamView::Relocation StreamView::begin_relocation(u32 sequence, Instant now) {
  std::erase_if(relocations_,
                [&](const auto& each) { return each.second && now - *each.second > kRelocatePause; });
  const auto [place, begun] = relocations_.emplace(sequence, std::nullopt);
  if (begun) {
    return Relocation::begun;
  }
  return place->second ? Relocation::done : Relocation::running;
}

void StreamView::end_relocation(u32 sequence, Instant now) {
  relocations_[sequence] = now;
  relocated_.wake_all();
}

void StreamView::recompute_length() {
  length_ = std::max(length_, settled_length_);
  for (size_t i = 0; i < open_.size(); ++i) {
    if (open_[i].exists) {
      const OpenChunk* next = next_existing(i);
      length_ = std::max(length_, next != nullptr ? next->base : open_[i].committed);
    }
  }
}

std::shared_ptr<StreamView> StreamCache::get(FileId file) {
  if (const auto found = places_.find(file); found != places_.end()) {
    order_.splice(order_.begin(), order_, found->second);
    return order_.front();
  }
  if (order_.size() >= capacity_ && !order_.empty()) {
    places_.erase(order_.back()->file());
    order_.pop_back();
  }
  order_.push_front(std::make_shared<StreamView>(file));
  places_[file] = order_.begin();
  return order_.front();
}

void StreamCache::forget(FileId file) {
  if (const auto found = places_.find(file); found != places_.end()) {
    order_.erase(found->second);
    places_.erase(found);
  }
}

}  // namespace pangu::client
