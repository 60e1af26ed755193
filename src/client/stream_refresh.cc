#include "client/stream_refresh.h"

#include <algorithm>

#include "base/reached.h"

namespace pangu::client {

namespace {

constexpr Duration kGrace = milliseconds(10);
// A watch's own deadline goes this much beyond the time it is asked to wait.
constexpr Duration kWatchSlack = milliseconds(250);

// What the tasks of one ask_replicas share with it.
struct Probe {
  size_t left = 0;
  size_t answered = 0;
  WaitList changed;
};

Task<void> probe(ClientCore& core, std::shared_ptr<StreamView> view, ChunkPlace chunk,
                 size_t replica, u64 beyond, std::shared_ptr<Probe> shared) {
  auto done =
      co_await watch_replica(core, std::move(view), std::move(chunk), replica, beyond, Duration{});
  --shared->left;
  if (done.ok()) {
    ++shared->answered;
  }
  shared->changed.wake_all();
}

}  // namespace

Task<Status> fetch_stream(ClientCore& core, std::shared_ptr<StreamView> view, u64 from, u32 limit,
                          Instant deadline) {
  pb::GetStreamRequest request;
  request.set_file(view->file().number);
  request.set_from_offset(from);
  request.set_limit(limit);
  auto reply = co_await core.stream_questions.ask(std::move(request), deadline);
  if (!reply.ok()) {
    co_return std::move(reply).error();
  }
  core.servers.learn_all(reply->stream().servers());
  CO_TRY(snapshot, read_stream(reply->stream(), view->file()));
  view->merge(snapshot);
  co_await core.locate(snapshot.chunks);
  co_return ok_status();
}

Task<Status> watch_replica(ClientCore& core, std::shared_ptr<StreamView> view, ChunkPlace chunk,
                           size_t replica, u64 beyond, Duration wait) {
  const Location location = chunk.replicas[replica].location;
  const wire::WatchRequest request{.chunk = wire::to_wire(chunk.id),
                                   .device = location.device,
                                   .beyond = beyond,
                                   .known_committed = 0,
                                   .wait_us = static_cast<u32>(wait.us()),
                                   .reserved = 0};
  ++core.counters.watches;
  const Duration patience = wait.ns == 0 ? core.options.read_timeout : wait + kWatchSlack;
  const rpc::CallOptions options{.deadline = core.now() + patience, .measured = wait.ns == 0};
  auto reply = co_await core.call_data<wire::WatchReply>(location.server, wire::Method::watch,
                                                         request, options);
  if (!reply.ok()) {
    co_return std::move(reply).error();
  }
  if (reply->code != Code::kOk) {
    co_return reply->error();
  }
  view->learn(chunk.id.sequence, *reply->body);
  co_return ok_status();
}

Task<void> ask_replicas(ClientCore& core, std::shared_ptr<StreamView> view) {
  const auto shared = std::make_shared<Probe>();
  for (const OpenChunk& chunk : view->open()) {
    for (size_t i = 0; i < chunk.place.replicas.size(); ++i) {
      if (core.gate.spawn(core.reactor, "ask length", TaskClass::foreground,
                          probe(core, view, chunk.place, i, view->length(), shared))) {
        ++shared->left;
      }
    }
  }
  Instant patience = core.now() + core.options.read_timeout;
  bool hurried = false;
  while (shared->left > 0 && core.now() < patience) {
    if (shared->answered > 0 && !hurried) {
      hurried = true;
      patience = std::min(patience, core.now() + kGrace);
    }
    co_await shared->changed.wait(patience);
  }
}

Task<Result<bool>> relocate(ClientCore& core, std::shared_ptr<StreamView> view, ChunkPlace place,
                            u64 offset, Instant deadline) {
  const auto known = view->find(offset);
  if (!known || known->place.version != place.version ||
      known->place.replicas != place.replicas) {
    REACHED("client: somebody else has found out where a chunk is now");
    co_return true;
  }
  const u32 sequence = place.id.sequence;
  switch (view->begin_relocation(sequence, core.now())) {
    case StreamView::Relocation::running:
      REACHED("client: somebody else asks already where a chunk is now");
      co_await view->relocated().wait(deadline);
      co_return true;
    case StreamView::Relocation::done:
      co_return false;
    case StreamView::Relocation::begun:
      break;
  }
  ++core.counters.metadata_refreshes;
  auto fetched = co_await fetch_stream(core, view, offset, 1, deadline);
  view->end_relocation(sequence, core.now());
  if (!fetched.ok()) {
    co_return std::move(fetched).error();
  }
  co_return true;
}

Task<Status> refresh_length(ClientCore& core, std::shared_ptr<StreamView> view, u64 from, u32 limit,
                            Instant deadline) {
  CO_TRY_VOID(co_await fetch_stream(core, view, from, limit, deadline));
  if (!view->open().empty()) {
    co_await ask_replicas(core, view);
    core.tell_of_writers(*view);
  }
  co_return ok_status();
}

}  // namespace pangu::client
