#include <fmt/format.h>

#include "client/append_pipeline.h"

// The end of a writer: every chunk it used gets its length decided and every spare goes back, so
// that whoever opens the file next has nothing to recover.
namespace pangu::client {

Status AppendPipeline::begin_closing() {
  TRY_VOID(check_open());
  closing_ = true;
  return ok_status();
}

// Everything acknowledged, by the late replicas too if they hurry, and no allocation under way.
Task<Status> AppendPipeline::quiesce(Instant deadline) {
  CO_TRY_VOID(co_await drain());
  const Instant patience = std::min(deadline, core_.now() + core_.options.append_timeout);
  while (!failure_ && current_ != nullptr && !current_->settled_down() && core_.now() < patience) {
    co_await waiters_.wait(patience);
  }
  while (!failure_ && allocating_ && core_.now() < deadline) {
    co_await waiters_.wait(deadline);
  }
  if (failure_) {
    co_return Error(*failure_).within(path_);
  }
  co_return ok_status();
}

Task<Status> AppendPipeline::wait_for_chores(Instant deadline) {
  while (!failure_ && !chores_.idle()) {
    if (core_.now() >= deadline) {
      co_return Error(Code::kTimeout,
                      fmt::format("{}: all {} bytes are safe, but the master has not taken the "
                                  "chunks' lengths yet: the next opener will recover them",
                                  path_, queue_.acked()));
    }
    co_await waiters_.wait(deadline);
  }
  if (failure_) {
    co_return Error(*failure_).within(
        fmt::format("{}: all {} acknowledged bytes are safe, but", path_, queue_.acked()));
  }
  if (chores_.failure()) {
    co_return Error(*chores_.failure()).within(path_ + ": settling its chunks");
  }
  co_return ok_status();
}

Task<Status> AppendPipeline::close() {
  const auto self = shared_from_this();
  CO_TRY_VOID(begin_closing());
  const Instant deadline = core_.op_deadline();
  CO_TRY_VOID(co_await quiesce(deadline));
  if (current_ != nullptr && current_->untouched()) {
    chores_.add({.kind = Chore::Kind::release, .sequence = current_->place().id.sequence});
    current_->leave();
    current_.reset();
  } else if (current_ != nullptr) {
    leave_current();
  }
  while (!spares_.empty()) {
    chores_.add({.kind = Chore::Kind::release, .sequence = spares_.front().id.sequence});
    spares_.pop_front();
  }
  core_.committed.flush();
  co_return co_await wait_for_chores(deadline);
}

std::vector<pb::Decision> AppendPipeline::final_decisions() const {
  std::vector<ChunkUse> used = history_;
  if (current_ != nullptr && !current_->untouched()) {
    used.push_back({.sequence = current_->place().id.sequence, .base = current_->base()});
  }
  std::vector<pb::Decision> out;
  for (size_t i = 0; i < used.size(); ++i) {
    const u64 end = i + 1 < used.size() ? used[i + 1].base : queue_.acked();
    pb::Decision& decision = out.emplace_back();
    decision.set_sequence(used[i].sequence);
    decision.set_base(used[i].base);
    decision.set_length(static_cast<u32>(end - used[i].base));
    decision.set_dropped(end == used[i].base);
  }
  const auto drop = [&](const ChunkPlace& place) {
    pb::Decision& decision = out.emplace_back();
    decision.set_sequence(place.id.sequence);
    decision.set_base(queue_.acked());
    decision.set_dropped(true);
  };
  if (current_ != nullptr && current_->untouched()) {
    drop(current_->place());
  }
  for (const ChunkPlace& spare : spares_) {
    drop(spare);
  }
  return out;
}

Task<Result<u64>> AppendPipeline::seal() {
  const auto self = shared_from_this();
  CO_TRY_VOID(begin_closing());
  const Instant deadline = core_.op_deadline();
  CO_TRY_VOID(co_await quiesce(deadline));
  CO_TRY_VOID(co_await wait_for_chores(deadline));
  core_.committed.flush();
  pb::SealFileRequest request;
  request.set_epoch(epoch_.number);
  for (const pb::Decision& decision : final_decisions()) {
    *request.add_decisions() = decision;
  }
  auto reply = co_await core_.change_stream<pb::SealFileReply>(
      file_, wire::Method::seal_file, std::move(request), deadline);
  if (!reply.ok()) {
    co_return std::move(reply).error().within(path_);
  }
  if (current_ != nullptr) {
    current_->leave();
    current_.reset();
  }
  spares_.clear();
  if (reply->length() != queue_.acked()) {
    co_return Error(Code::kInternal, fmt::format("{}: sealed at {} bytes, but {} were acknowledged",
                                                 path_, reply->length(), queue_.acked()));
  }
  co_return reply->length();
}

}  // namespace pangu::client
