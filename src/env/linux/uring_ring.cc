#include "env/linux/uring_ring.h"

#include <cerrno>
#include <sched.h>
#include <unistd.h>

#include "base/reached.h"

namespace pangu::env {

namespace {

constexpr unsigned kSubmissions = 512;
constexpr unsigned kCompletions = 4096;  // of a busy socket server there are far more than requests
constexpr unsigned kRegisteredSlots = 1024;
constexpr size_t kRegionBytesMax = kGiB;  // a limit of the kernel

// user_data of requests that belong to no operation.
constexpr u64 kIgnored = 0;
constexpr u64 kWakeUp = 1;

struct Variant {
  std::string_view name;
  unsigned flags;
  bool task_run_flag;
};
// From best to plainest; which ones exist depends on the kernel (6.1, 5.19, 5.10).
constexpr Variant kVariants[] = {
    {"deferred task work",
     IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
         IORING_SETUP_TASKRUN_FLAG,
     true},
    {"cooperative task work",
     IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL, true},
    {"plain", 0, false},
};

constexpr unsigned kFeatures =
    IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_FAST_POLL;

constexpr int kOperations[] = {
    IORING_OP_READ,    IORING_OP_WRITE,  IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED,
    IORING_OP_FSYNC,   IORING_OP_SEND,   IORING_OP_RECV,       IORING_OP_SENDMSG,
    IORING_OP_RECVMSG, IORING_OP_ACCEPT, IORING_OP_CONNECT,    IORING_OP_ASYNC_CANCEL,
};

// liburing's own bit for "the ring's descriptor is registered with this task".
constexpr u8 kRingFdRegistered = 1;

}  // namespace

Status Ring::open() {
  CHECK(!opened_);
  int result = 0;
  for (const Variant& variant : kVariants) {
    io_uring_params params{};
    // Disabled until start(): the ring then belongs to the thread that uses it, not to this one.
    params.flags =
        variant.flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_R_DISABLED;
    params.cq_entries = kCompletions;
    result = io_uring_queue_init_params(kSubmissions, &ring_, &params);
    if (result == 0) {
      opened_ = true;
      mode_ = variant.name;
      task_run_flag_ = variant.task_run_flag;
      break;
    }
    if (result != -EINVAL) {
      break;
    }
  }
  if (!opened_) {
    return error_from_errno(-result, "setting up io_uring");
  }
  if ((ring_.features & kFeatures) != kFeatures) {
    return Error(Code::kUnsupported, "this kernel's io_uring is too old (5.11 or later is needed)");
  }
  TRY_VOID(require_operations());
  if (io_uring_register_buffers_sparse(&ring_, kRegisteredSlots) == 0) {
    slot_used_.resize(kRegisteredSlots);
  }
  early_.reserve(kCompletions);
  return {};
}

Status Ring::require_operations() {
  io_uring_probe* probe = io_uring_get_probe_ring(&ring_);
  if (probe == nullptr) {
    return Error(Code::kUnsupported, "io_uring does not tell which operations it has");
  }
  const bool all = std::all_of(std::begin(kOperations), std::end(kOperations), [&](int operation) {
    return io_uring_opcode_supported(probe, operation) != 0;
  });
  io_uring_free_probe(probe);
  return all ? Status() : Error(Code::kUnsupported, "io_uring lacks operations that are needed");
}

// The thread that comes here is the one that the kernel will accept from now on.
void Ring::start() {
  started_ = true;
  owner_ = gettid();
  // io_uring_enable_rings() is declared by liburing 2.3 but missing from its shared library.
  const int enabled = io_uring_register(static_cast<unsigned>(ring_.ring_fd),
                                        IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
  CHECK_NOTE(enabled >= 0, "the kernel would not start an io_uring that it had set up");
  io_uring_register_ring_fd(&ring_);  // saves a descriptor look-up a call; fine without
}

Ring::~Ring() {
  if (!opened_) {
    return;
  }
  if (started_ && owner_ == gettid()) {
    drain();
  } else if ((ring_.int_flags & kRingFdRegistered) != 0) {
    // The registration belongs to the task that made it. Here its index means nothing, or another
    // ring's: keep liburing from taking that one out.
    ring_.int_flags = static_cast<u8>(ring_.int_flags & ~kRingFdRegistered);
    ring_.enter_ring_fd = ring_.ring_fd;
  }
  io_uring_queue_exit(&ring_);
}

// The kernel may write into memory that operations named until each has completed.
void Ring::drain() {
  if (in_flight_ == 0 && !wake_armed_) {
    return;
  }
  io_uring_sqe* sqe = next();
  io_uring_prep_cancel64(sqe, 0, static_cast<int>(IORING_ASYNC_CANCEL_ANY));
  io_uring_sqe_set_data64(sqe, kIgnored);
  ++in_flight_;
  for (int i = 0; i < 1000 && (in_flight_ > 0 || wake_armed_); ++i) {
    __kernel_timespec time{.tv_sec = 0, .tv_nsec = 10'000'000};
    io_uring_cqe* first = nullptr;
    io_uring_submit_and_wait_timeout(&ring_, &first, 1, &time, nullptr);
    save_answers();
    for (const Answer& answer : early_) {
      if (answer.data == kWakeUp) {
        wake_armed_ = false;
      } else {
        --in_flight_;
      }
    }
    early_.clear();
  }
}

io_uring_sqe* Ring::next() {
  for (int i = 0;; ++i) {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (sqe != nullptr) [[likely]] {
      return sqe;
    }
    REACHED("io_uring: submission queue full");
    CHECK_NOTE(i < 1'000'000, "the kernel takes no more io_uring requests");
    if (!started_) {
      start();
    }
    const int submitted = io_uring_submit(&ring_);
    settle(submitted);
    if (submitted < 0) {
      // It wants its answers taken, or is out of memory for now.
      save_answers();
      sched_yield();
    }
  }
}

void Ring::track(io_uring_sqe* sqe, Operation& op, Handler handler) {
  static_assert(sizeof(Handler) == sizeof(u64));
  op.hidden.words[0] = std::bit_cast<u64>(handler);
  io_uring_sqe_set_data(sqe, &op);
  ++in_flight_;
}

void Ring::cancel(Operation& op) {
  io_uring_sqe* sqe = next();
  io_uring_prep_cancel(sqe, &op, 0);
  io_uring_sqe_set_data64(sqe, kIgnored);
  ++in_flight_;
}

// Judges the result of an enter. Nothing is lost when it fails: requests stay queued.
void Ring::settle(int entered) {
  if (entered >= 0 || entered == -ETIME || entered == -EINTR || entered == -EAGAIN ||
      entered == -EBUSY) {
    return;
  }
  CHECK_NOTE(entered != -EEXIST, "an Env was used by a second thread: it belongs to the first");
  CHECK_NOTE(false, std::string("io_uring_enter: ") + std::strerror(-entered));
}

void Ring::enter() {
  if (!started_) [[unlikely]] {
    start();
  }
  if (io_uring_sq_ready(&ring_) > 0) {
    settle(io_uring_submit_and_get_events(&ring_));
    return;
  }
  const unsigned worth_it = IORING_SQ_CQ_OVERFLOW | (task_run_flag_ ? IORING_SQ_TASKRUN : 0);
  if ((__atomic_load_n(ring_.sq.kflags, __ATOMIC_RELAXED) & worth_it) != 0) {
    settle(io_uring_get_events(&ring_));
  }
}

void Ring::enter_and_wait(Duration timeout, int wake_fd) {
  if (!started_) [[unlikely]] {
    start();
  }
  if (!wake_armed_) {
    io_uring_sqe* sqe = next();
    io_uring_prep_read(sqe, wake_fd, &wake_count_, sizeof wake_count_, 0);
    io_uring_sqe_set_data64(sqe, kWakeUp);
    wake_armed_ = true;
  }
  io_uring_cqe* first = nullptr;
  __kernel_timespec time{.tv_sec = timeout.ns / 1'000'000'000,
                         .tv_nsec = timeout.ns % 1'000'000'000};
  settle(io_uring_submit_and_wait_timeout(&ring_, &first, 1, timeout.ns < 0 ? nullptr : &time,
                                          nullptr));
}

// Handlers must not run inside a call that starts an operation: keeps the answers for reap().
void Ring::save_answers() {
  unsigned head = 0;
  unsigned count = 0;
  io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    early_.push_back(Answer{cqe->user_data, cqe->res});
    ++count;
  }
  io_uring_cq_advance(&ring_, count);
}

size_t Ring::handle(const Answer& answer) {
  if (answer.data == kWakeUp) {
    wake_armed_ = false;
    return 0;
  }
  --in_flight_;
  if (answer.data == kIgnored) {
    return 0;
  }
  auto* op = reinterpret_cast<Operation*>(answer.data);
  std::bit_cast<Handler>(op->hidden.words[0])(*op, answer.result);
  return 1;
}

size_t Ring::reap() {
  size_t count = 0;
  if (!early_.empty()) [[unlikely]] {
    REACHED("io_uring: completions taken early");
    std::vector<Answer> early;
    early.swap(early_);
    for (const Answer& answer : early) {
      count += handle(answer);
    }
  }
  // Copied out in batches before any handler runs: a handler may submit, and so touch the queue.
  std::array<Answer, 64> batch;
  for (unsigned taken = 0; taken < kCompletions;) {
    const unsigned head = *ring_.cq.khead;
    const unsigned found = std::min<unsigned>(io_uring_cq_ready(&ring_), batch.size());
    if (found == 0) {
      break;
    }
    for (unsigned i = 0; i < found; ++i) {
      const io_uring_cqe& cqe = ring_.cq.cqes[(head + i) & ring_.cq.ring_mask];
      batch[i] = Answer{cqe.user_data, cqe.res};
    }
    io_uring_cq_advance(&ring_, found);
    for (unsigned i = 0; i < found; ++i) {
      count += handle(batch[i]);
    }
    taken += found;
  }
  return count;
}

i32 Ring::register_memory(std::byte* base, size_t size) {
  const auto free = std::find(slot_used_.begin(), slot_used_.end(), false);
  if (free == slot_used_.end() || size == 0 || size > kRegionBytesMax) {
    return -1;
  }
  const i32 slot = static_cast<i32>(free - slot_used_.begin());
  const iovec piece{base, size};
  // Beyond RLIMIT_MEMLOCK the kernel answers ENOMEM.
  if (io_uring_register_buffers_update_tag(&ring_, static_cast<unsigned>(slot), &piece, nullptr,
                                           1) != 1) {
    REACHED("io_uring: memory not registered");
    return -1;
  }
  slot_used_[static_cast<size_t>(slot)] = true;
  const Region region{base, size, slot};
  const auto place =
      std::upper_bound(regions_.begin(), regions_.end(), region,
                       [](const Region& a, const Region& b) { return a.base < b.base; });
  regions_.insert(place, region);
  return slot;
}

void Ring::unregister_memory(i32 slot) {
  const auto region = std::find_if(regions_.begin(), regions_.end(),
                                   [slot](const Region& each) { return each.slot == slot; });
  if (region == regions_.end()) {
    return;
  }
  regions_.erase(region);
  slot_used_[static_cast<size_t>(slot)] = false;
  const iovec nothing{nullptr, 0};
  io_uring_register_buffers_update_tag(&ring_, static_cast<unsigned>(slot), &nothing, nullptr, 1);
}

i32 Ring::slot_of(const std::byte* data, size_t size) const {
  auto after =
      std::upper_bound(regions_.begin(), regions_.end(), data,
                       [](const std::byte* at, const Region& region) { return at < region.base; });
  if (after == regions_.begin()) {
    return -1;
  }
  const Region& region = *--after;
  return data + size <= region.base + region.size ? region.slot : -1;
}

}  // namespace pangu::env
