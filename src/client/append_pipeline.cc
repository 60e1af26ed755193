#include "client/append_pipeline.h"

#include <fmt/format.h>

#include "base/reached.h"
#include "wire/unit.h"

namespace pangu::client {

// Frees itself when it is acknowledged or failed.
struct AppendPipeline::Enqueued : PendingAppend {
  AppendPipeline* pipeline = nullptr;
  u64 window = 0;
};

AppendPipeline::Alarm::Alarm(AppendPipeline* o)
    : Timer([](Timer* timer) noexcept { static_cast<Alarm*>(timer)->owner->on_deadline(); }),
      owner(o) {}

std::shared_ptr<AppendPipeline> AppendPipeline::make(ClientCore& core, std::string path,
                                                     FileId file, Epoch epoch, u64 start,
                                                     std::vector<ChunkPlace> fresh) {
  auto out = std::make_shared<AppendPipeline>(core, std::move(path), file, epoch, start);
  out->adopt_spares(std::move(fresh));
  core.add_pipeline(out);
  return out;
}

AppendPipeline::AppendPipeline(ClientCore& core, std::string path, FileId file, Epoch epoch,
                               u64 start)
    : core_(core),
      path_(std::move(path)),
      file_(file),
      epoch_(epoch),
      queue_(start),
      chores_(core, *this, file, epoch) {}

AppendPipeline::~AppendPipeline() {
  if (current_ != nullptr) {
    current_->leave();
  }
  queue_.fail_all(Error(Code::kUnknownOutcome, path_ + ": the writer is gone"),
                  [](const PendingAppend&) {});
}

Status AppendPipeline::check_open() const {
  if (failure_ && failure_->code() == Code::kFenced) {
    return Error(*failure_).within(path_);
  }
  if (failure_) {
    return Error(Code::kClosed,
                 fmt::format("{}: this writer failed before, open the file again: {}", path_,
                             failure_->message()));
  }
  if (closing_) {
    return Error(Code::kClosed, path_ + ": the writer is closed");
  }
  return ok_status();
}

Status AppendPipeline::check_append(Bytes bytes, bool record) const {
  TRY_VOID(check_open());
  if (record && bytes.size() > kRecordBytesMax) {
    return Error(Code::kTooLarge, fmt::format("{}: a record of {} bytes; at most {} stay together",
                                              path_, bytes.size(), kRecordBytesMax));
  }
  return ok_status();
}

Task<Status> AppendPipeline::take_window(u64 bytes) {
  if (core_.window.try_take(bytes)) {
    co_return ok_status();
  }
  const bool taken = co_await core_.window.take(bytes, core_.op_deadline());
  if (!taken) {
    co_return Error(Code::kBusy,
                    fmt::format("{}: {} bytes of appends are not acknowledged yet and nothing "
                                "moved for {} ms; nothing of this append was sent",
                                path_, core_.options.window_bytes, core_.options.op_timeout.ms()));
  }
  co_return ok_status();
}

void AppendPipeline::submit(PendingAppend& append) {
  append.submitted = core_.now();
  append.deadline = append.submitted + core_.options.op_timeout;
  queue_.push(append);
  if (!deadline_alarm_.armed()) {
    deadline_alarm_.arm(core_.reactor, queue_.front()->deadline);
  }
  pump();
}

Task<Result<u64>> AppendPipeline::append(Bytes bytes, std::optional<u64> expected, bool record) {
  const auto self = shared_from_this();  // outlives the handle it was called through
  CO_TRY_VOID(check_append(bytes, record));
  const u64 window = std::min<u64>(bytes.size(), core_.options.window_bytes);
  auto taken = co_await take_window(window);
  if (!taken.ok()) {
    co_return std::move(taken).error();
  }
  auto open = check_open();
  if (open.ok() && expected && *expected != queue_.end()) {
    open = Error(Code::kOffsetMismatch,
                 fmt::format("{}: the file ends at {}, not at {}", path_, queue_.end(), *expected));
  }
  if (!open.ok() || bytes.empty()) {
    core_.window.give(window);
    if (!open.ok()) {
      co_return std::move(open).error();
    }
    co_return queue_.end();
  }
  PendingAppend pending;
  pending.bytes = bytes;
  pending.record = record;
  submit(pending);
  co_await pending.done.wait();
  core_.window.give(window);
  if (pending.error) {
    co_return std::move(*pending.error);
  }
  co_return pending.offset;
}

Task<Status> AppendPipeline::enqueue(Slice bytes, bool record) {
  const auto self = shared_from_this();
  CO_TRY_VOID(check_append(bytes.bytes(), record));
  if (bytes.empty()) {
    co_return ok_status();
  }
  const u64 window = std::min<u64>(bytes.size(), core_.options.window_bytes);
  auto taken = co_await take_window(window);
  if (!taken.ok()) {
    co_return std::move(taken).error();
  }
  auto open = check_open();
  if (!open.ok()) {
    core_.window.give(window);
    co_return std::move(open).error();
  }
  auto* append = new Enqueued;
  append->keep = std::move(bytes);
  append->bytes = append->keep.bytes();
  append->record = record;
  append->pipeline = this;
  append->window = window;
  append->on_done = [](PendingAppend& done) {
    std::unique_ptr<Enqueued> self_owned(static_cast<Enqueued*>(&done));
    self_owned->pipeline->core_.window.give(self_owned->window);
  };
  submit(*append);
  co_return ok_status();
}

Task<Status> AppendPipeline::drain() {
  const auto self = shared_from_this();
  if (lost_) {
    co_return Error(*lost_);
  }
  const u64 goal = queue_.end();
  // Every append has its own deadline: this ends when they do.
  while (!failure_ && queue_.acked() < goal) {
    co_await waiters_.wait();
  }
  if (queue_.acked() < goal) {
    co_return Error(*lost_);
  }
  co_return ok_status();
}

// Cuts and sends whatever may go now. Everything that changes what may go ends up here.
void AppendPipeline::pump() {
  if (pumping_) {
    return;  // the outer one looks again
  }
  pumping_ = true;
  while (step()) {
  }
  pumping_ = false;
}

// One action; false if there is none to take now.
bool AppendPipeline::step() {
  if (failure_) {
    return false;
  }
  if (current_ != nullptr && current_->failing_links() > 0 && move_on(Move::failure)) {
    return true;
  }
  if (queue_.waiting() == 0) {
    return false;
  }
  if (current_ == nullptr) {
    return move_on(Move::first);
  }
  if (!may_cut()) {
    return false;
  }
  const AppendQueue::Plan plan = queue_.plan_run(current_->room());
  if (plan.length == 0) {
    // Full: everything in it must be acknowledged before the move, so that nothing is sent twice.
    return current_->runs_in_flight() == 0 && move_on(Move::full);
  }
  acknowledged_since_cut_ = false;
  core_.committed.forget(current_->place().id);  // the run carries it
  queue_.mark_cut(plan.length);
  current_->append_run(plan.pieces, plan.length);
  return true;
}

bool AppendPipeline::may_cut() {
  const ClientOptions& options = core_.options;
  if (current_->retained_bytes() >= options.retained_bytes) {
    if (current_->failing_links() == 0) {
      REACHED("client: writer waits for its slowest replica");
      return false;
    }
    REACHED("client: failed replica given up for memory");
    current_->give_up_failing_links();
    if (current_->retained_bytes() >= options.retained_bytes) {
      return false;
    }
  }
  const size_t in_flight = current_->runs_in_flight();
  if (in_flight >= options.runs_in_flight) {
    return false;
  }
  return in_flight == 0 || acknowledged_since_cut_ || queue_.waiting() >= options.gather_bytes;
}

void AppendPipeline::count_acknowledged(const PendingAppend& append, Instant now) {
  ++core_.counters.appends;
  core_.counters.append_bytes += append.bytes.size();
  core_.counters.append_us.add(static_cast<u64>((now - append.submitted).us()));
}

void AppendPipeline::on_progress() {
  if (current_ == nullptr) {
    return;
  }
  const u64 acked = current_->base() + current_->acked_length();
  if (acked > queue_.acked()) {
    const Instant now = core_.now();
    acknowledged_since_cut_ = true;
    queue_.acknowledge(acked,
                       [&](const PendingAppend& append) { count_acknowledged(append, now); });
    if (trouble_since_ != Instant::never()) {
      core_.counters.switch_us.add(static_cast<u64>((now - trouble_since_).us()));
      trouble_since_ = Instant::never();
    }
    if (queue_.empty()) {
      core_.committed.note(current_->place(), acked);
    }
  }
  waiters_.wake_all();
  pump();
}

void AppendPipeline::tell(StreamView& view) const {
  for (const ChunkUse& use : history_) {
    view.learn_use(use.sequence, use.base, use.base);
  }
  if (current_ != nullptr && current_->acked_length() > 0) {
    view.learn_use(current_->place().id.sequence, current_->base(), queue_.acked());
  }
}

void AppendPipeline::on_fenced(u32 fence) {
  REACHED("client: writer fenced");
  ++core_.counters.fenced;
  fail(Error(Code::kFenced, fmt::format("another writer opened the file (its epoch {}, ours {})",
                                        fence, epoch_.number)));
}

void AppendPipeline::on_wrong_epoch() {
  REACHED("client: writer told of a newer epoch by the master");
  ++core_.counters.fenced;
  fail(Error(Code::kFenced,
             fmt::format("another writer opened the file (our epoch {} is over)", epoch_.number)));
}

void AppendPipeline::on_deadline() {
  PendingAppend* oldest = queue_.front();
  if (oldest == nullptr || failure_) {
    return;
  }
  if (core_.now() < oldest->deadline) {
    deadline_alarm_.arm(core_.reactor, oldest->deadline);
    return;
  }
  REACHED("client: append deadline passed");
  const std::string where = current_ != nullptr ? current_->describe() : "no chunk to write to";
  const std::string why = last_trouble_ ? last_trouble_->message() : "nothing was refused";
  fail(Error(Code::kTimeout, fmt::format("not acknowledged within {} ms; {}; last trouble: {}",
                                         core_.options.op_timeout.ms(), where, why)));
}

void AppendPipeline::fail(Error cause) {
  if (failure_) {
    return;
  }
  failure_ = std::move(cause);
  deadline_alarm_.cancel();
  chores_.cancel();
  if (current_ != nullptr) {
    core_.committed.flush();  // acknowledged stays acknowledged: readers may know
    current_->leave();
    current_.reset();
  }
  const Error unknown(Code::kUnknownOutcome,
                      fmt::format("{}: bytes from offset {} on may or may not be in the file; open "
                                  "it again and look at its length. Cause: {}",
                                  path_, queue_.acked(), failure_->message()));
  if (!queue_.empty()) {
    lost_ = unknown;
  }
  queue_.fail_all(unknown, [&](const PendingAppend&) {
    ++core_.counters.appends_failed;
    ++core_.counters.unknown_outcomes;
  });
  waiters_.wake_all();
}

}  // namespace pangu::client
