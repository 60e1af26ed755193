#pragma once
#include <memory>
#include <utility>
#include <vector>

#include "base/time.h"
#include "base/types.h"

// The events of a simulated world, ordered by (time, order of scheduling). Events come from a pool:
// after warm-up, scheduling and firing allocate nothing.
namespace pangu::env::sim {

class World;
class SimEnv;

// What kind of thing happened: goes into the trace hash.
enum class EventKind : u8 {
  turn,
  disk,
  deliver,
  unblock,
  reset,
  connect,
  timeout,
  background,
  completion,
  driver,
};

struct Event {
  using Fire = void (*)(World& world, Event& event);
  Fire fire = nullptr;
  SimEnv* env = nullptr;
  void* object = nullptr;
  u64 a = 0;
  u64 b = 0;
  EventKind kind = EventKind::turn;
  u32 node = 0;
  Event* next_free = nullptr;
};

class EventQueue {
 public:
  bool empty() const { return heap_.empty(); }
  size_t size() const { return heap_.size(); }
  // REQUIRES: !empty()
  Instant next_time() const { return heap_.front().time; }

  Event& push(Instant when, EventKind kind, Event::Fire fire) {
    Event& event = take();
    event.kind = kind;
    event.fire = fire;
    heap_.push_back({when, ++sequence_, &event});
    sift_up(heap_.size() - 1);
    return event;
  }
  // The first event; it goes back with release(). REQUIRES: !empty()
  Event& pop() {
    Event* first = heap_.front().event;
    const Entry last = heap_.back();
    heap_.pop_back();
    if (!heap_.empty()) {
      sift_down(last);
    }
    return *first;
  }
  void release(Event& event) {
    event = Event{};
    event.next_free = std::exchange(free_, &event);
  }

 private:
  struct Entry {
    Instant time;
    u64 sequence;
    Event* event;
    bool before(const Entry& other) const {
      return time < other.time || (time == other.time && sequence < other.sequence);
    }
  };
  static constexpr size_t kArity = 4;  // a flatter heap than a binary one: fewer cache misses
  static constexpr size_t kSlab = 256;

  Event& take() {
    if (free_ == nullptr) {
      slabs_.push_back(std::make_unique<Event[]>(kSlab));
      for (size_t i = 0; i < kSlab; ++i) {
        slabs_.back()[i].next_free = std::exchange(free_, &slabs_.back()[i]);
      }
    }
    Event& event = *std::exchange(free_, free_->next_free);
    event.next_free = nullptr;
    return event;
  }
  void sift_up(size_t place) {
    const Entry entry = heap_[place];
    while (place > 0) {
      const size_t parent = (place - 1) / kArity;
      if (!entry.before(heap_[parent])) {
        break;
      }
      heap_[place] = heap_[parent];
      place = parent;
    }
    heap_[place] = entry;
  }
  // Puts `entry` into the hole at the root.
  void sift_down(const Entry& entry) {
    size_t place = 0;
    for (;;) {
      const size_t first = place * kArity + 1;
      if (first >= heap_.size()) {
        break;
      }
      const size_t end = first + kArity < heap_.size() ? first + kArity : heap_.size();
      size_t best = first;
      for (size_t child = first + 1; child < end; ++child) {
        if (heap_[child].before(heap_[best])) {
          best = child;
        }
      }
      if (!heap_[best].before(entry)) {
        break;
      }
      heap_[place] = heap_[best];
      place = best;
    }
    heap_[place] = entry;
  }

  std::vector<Entry> heap_;
  u64 sequence_ = 0;
  std::vector<std::unique_ptr<Event[]>> slabs_;
  Event* free_ = nullptr;
};

}  // namespace pangu::env::sim
