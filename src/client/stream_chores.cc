#include "client/stream_chores.h"

#include "base/log.h"
#include "base/reached.h"
#include "client/append_pipeline.h"
#include "runtime/await.h"

namespace pangu::client {

namespace {
constexpr Duration kPause = milliseconds(200);
}  // namespace

void StreamChores::add(Chore chore) {
  if (cancelled_) {
    return;
  }
  chores_.push_back(std::move(chore));
  if (!running_) {
    running_ = core_.gate.spawn(core_.reactor, "stream chores", TaskClass::control,
                                run(pipeline_.shared_from_this()));
  }
}

void StreamChores::cancel() {
  cancelled_ = true;
  chores_.clear();
}

// `keep` holds the pipeline, and this with it, until the last chore is done.
Task<void> StreamChores::run(std::shared_ptr<AppendPipeline> keep) {
  while (!chores_.empty() && !cancelled_ && !core_.stopping) {
    const Chore chore = chores_.front();
    auto done = co_await perform(chore);
    if (cancelled_ || core_.stopping) {
      break;
    }
    const Code code = done.code();
    if (code == Code::kUnavailable || code == Code::kUnknownOutcome) {
      REACHED("client: chore repeated");
      co_await sleep_for(kPause);  // both may be asked for again under a new request id
      continue;
    }
    if (code == Code::kWrongEpoch) {
      keep->on_wrong_epoch();
      break;
    }
    if (!done.ok()) {
      LOG_WARN("file {}: the master refuses to settle chunk {}: {}", to_string(file_),
               chore.sequence, done.error().message());
      failure_ = std::move(done).error();
    } else if (chore.kind == Chore::Kind::report) {
      keep->on_settled(chore.sequence);
    }
    if (!chores_.empty()) {
      chores_.pop_front();
    }
  }
  running_ = false;
  keep->wake_waiters();
}

Task<Status> StreamChores::perform(const Chore& chore) {
  const Instant deadline = core_.op_deadline();
  if (chore.kind == Chore::Kind::release) {
    pb::ReleaseChunkRequest request;
    request.set_epoch(epoch_.number);
    request.set_sequence(chore.sequence);
    auto reply = co_await core_.change_stream<pb::ReleaseChunkReply>(
        file_, wire::Method::release_chunk, std::move(request), deadline);
    if (!reply.ok()) {
      co_return std::move(reply).error();
    }
    co_return ok_status();
  }
  pb::ReportChunkRequest request;
  request.set_epoch(epoch_.number);
  request.set_sequence(chore.sequence);
  request.set_base(chore.base);
  request.set_length(chore.length);
  for (const ServerId server : chore.suspects) {
    request.add_suspect_servers(server.number);
  }
  auto reply = co_await core_.change_stream<pb::ReportChunkReply>(
      file_, wire::Method::report_chunk, std::move(request), deadline);
  if (!reply.ok()) {
    co_return std::move(reply).error();
  }
  co_return ok_status();
}

}  // namespace pangu::client
