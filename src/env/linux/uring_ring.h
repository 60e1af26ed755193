#pragma once
#include <liburing.h>

#include "env/env.h"

namespace pangu::env {

// One io_uring: set-up with fall-backs, submission that never fails for lack of room, reaping that
// calls handlers. Knows nothing of files or sockets.
//
// Owned by the thread that first submits. Until then it may be built and given memory by another.
class Ring {
 public:
  // Continues `op` with what the kernel answered.
  using Handler = void (*)(Operation& op, i32 result);

  Ring() = default;
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  // Cancels what is in flight and waits until the kernel has let go of all memory; no handler runs.
  ~Ring();

  // Fails where io_uring is forbidden or lacks something that we need. Call once, before all else.
  Status open();
  // Which of the set-up variants the kernel took, for people.
  std::string_view mode() const { return mode_; }

  // Room for one request: prepare it, then hand it to track() before the next call.
  io_uring_sqe* next();
  // The answer to `sqe` goes to `handler`, which finds its state in op.hidden.
  void track(io_uring_sqe* sqe, Operation& op, Handler handler);
  // Asks the kernel to end `op` early; it then completes with -ECANCELED, unless it was faster.
  void cancel(Operation& op);

  // Submits and collects without blocking; no system call if there is nothing of either.
  void enter();
  // The same, and sleeps for at most `timeout` (negative: for ever) until something completes or
  // `wake_fd` becomes readable.
  void enter_and_wait(Duration timeout, int wake_fd);
  // Runs the handlers of what has completed; how many.
  size_t reap();
  bool has_completions() const { return io_uring_cq_ready(&ring_) > 0 || !early_.empty(); }

  // Registered memory (Env::register_memory).
  i32 register_memory(std::byte* base, size_t size);
  void unregister_memory(i32 slot);
  // The slot whose memory covers [data, data + size), or -1.
  i32 slot_of(const std::byte* data, size_t size) const;

 private:
  struct Answer {
    u64 data;
    i32 result;
  };
  struct Region {
    const std::byte* base;
    size_t size;
    i32 slot;
  };
  Status require_operations();
  void start();
  void settle(int entered);
  void save_answers();
  size_t handle(const Answer& answer);
  void drain();

  io_uring ring_{};
  bool opened_ = false;
  bool started_ = false;
  bool task_run_flag_ = false;  // the kernel tells in shared memory when entering is worth it
  bool wake_armed_ = false;
  pid_t owner_ = 0;
  u64 wake_count_ = 0;
  u64 in_flight_ = 0;
  std::string_view mode_;
  std::vector<Answer> early_;    // taken from a full completion queue before their time
  std::vector<Region> regions_;  // ordered by base
  std::vector<bool> slot_used_;
};

}  // namespace pangu::env
