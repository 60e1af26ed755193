#pragma once
#include <array>

#include "base/buffer.h"

// Where the store takes memory from: for what it reads, and for what it writes of its own.
namespace pangu::chunk {

class Buffers {
 public:
  virtual ~Buffers() = default;
  // `size` bytes (a multiple of 4096, at most 1 MiB + 64 KiB), 4096-aligned, not cleared. An empty
  // slice if there is none now: the operation that wanted it then answers BUSY.
  virtual Slice take(size_t size) = 0;
  // True while memory is short: the store then lets go of the tails of open chunks.
  virtual bool pressed() const = 0;
};

// Buffers from the heap, kept for reuse in a few size classes. For tests, tools and small processes.
// A slice may outlive it.
class HeapBuffers final : public Buffers {
 public:
  HeapBuffers();
  HeapBuffers(const HeapBuffers&) = delete;
  HeapBuffers& operator=(const HeapBuffers&) = delete;
  ~HeapBuffers() override;
  Slice take(size_t size) override;
  bool pressed() const override { return pressed_; }
  void set_pressed(bool pressed) { pressed_ = pressed; }

 private:
  struct Core;
  Core* core_;
  bool pressed_ = false;
};

}  // namespace pangu::chunk
