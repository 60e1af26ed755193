#include "client/takeover.h"

#include <algorithm>
#include <fmt/format.h>

#include "base/log.h"
#include "base/reached.h"
#include "runtime/await.h"

namespace pangu::client {

namespace {

// Once the answers decide, how much longer to wait for the rest: with more of them there is less to
// copy.
constexpr Duration kGrace = milliseconds(30);
constexpr Duration kPauseFirst = milliseconds(20);
constexpr Duration kPauseMax = milliseconds(500);
constexpr int kDecisionsMax = 64;

}  // namespace

Takeover::Takeover(ClientCore& core, std::string path, StreamSnapshot stream, Instant deadline)
    : core_(core),
      path_(std::move(path)),
      stream_(std::move(stream)),
      deadline_(deadline),
      input_(input_of(stream_)) {
  for (const ChunkPlace& chunk : stream_.chunks) {
    silences_.emplace_back(chunk.replicas.size());
  }
}

DecideInput Takeover::input_of(const StreamSnapshot& stream) const {
  DecideInput out;
  out.start = stream.settled_length;
  for (const ChunkPlace& chunk : stream.chunks) {
    ListedChunk& listed = out.chunks.emplace_back();
    listed.sequence = chunk.id.sequence;
    listed.copies_max = chunk.copies_max;
    listed.copies_min = chunk.copies_min;
    listed.settled = chunk.state != ChunkState::open;
    if (listed.settled) {
      listed.base = chunk.base;
      listed.length = chunk.length;
    } else {
      listed.answers.resize(chunk.replicas.size());
    }
  }
  return out;
}

Task<Result<TakeoverResult>> Takeover::run(TakeoverGoal goal) {
  const auto self = shared_from_this();
  ++core_.counters.takeovers;
  co_await core_.locate(stream_.chunks);
  for (size_t chunk = 0; chunk < stream_.chunks.size(); ++chunk) {
    for (size_t replica = 0; replica < input_.chunks[chunk].answers.size(); ++replica) {
      start_fence(chunk, replica);
    }
  }
  Result<TakeoverResult> out = Error(Code::kUndecidable, path_ + ": its replicas keep changing");
  for (int round = 0; round < kDecisionsMax; ++round) {
    auto verdict = co_await reach_verdict();
    if (!verdict.ok()) {
      out = std::move(verdict).error();
      break;
    }
    if (verdict->to_fill) {
      auto filled = co_await fill(*verdict->to_fill, verdict->fill_length);
      if (!filled.ok()) {
        out = std::move(filled).error();
        break;
      }
      if (!*filled) {
        REACHED("client: takeover decides again");
        continue;
      }
    }
    auto published = co_await publish(std::move(*verdict), goal);
    out = std::move(published);
    break;
  }
  over_ = true;
  co_return out;
}

void Takeover::start_fence(size_t chunk, size_t replica) {
  core_.gate.spawn(core_.reactor, "fence", TaskClass::control,
                   fence(shared_from_this(), chunk, replica));
}

// Asks until it answers or nobody wants to know any more. `keep` holds this.
Task<void> Takeover::fence(std::shared_ptr<Takeover> keep, size_t chunk, size_t replica) {
  const Location location = place(chunk).replicas[replica].location;
  const wire::FenceRequest request{.chunk = wire::to_wire(place(chunk).id),
                                   .device = location.device,
                                   .epoch = stream_.epoch.number,
                                   .reserved = 0};
  Duration pause = kPauseFirst;
  while (!over_ && !superseded_ && !core_.stopping && core_.now() < deadline_) {
    const Instant attempt_deadline = std::min(deadline_, core_.now() + core_.options.fence_timeout);
    const rpc::CallOptions options{.task_class = TaskClass::control, .deadline = attempt_deadline};
    auto response = co_await core_.call_server(location.server, wire::Method::fence,
                                               as_bytes_of(request), rpc::Payload{}, options);
    if (over_) {
      co_return;
    }
    Result<std::vector<wire::HistoryEntry>> history = std::vector<wire::HistoryEntry>{};
    if (response.ok() && response->code == Code::kOk) {
      auto head = wire::read_struct<wire::FenceReply>(response->body.bytes());
      if (head.ok()) {
        history = wire::read_records<wire::HistoryEntry>(
            response->body.bytes(), sizeof(wire::FenceReply), head->history_count);
      }
    }
    const bool done = keep->take_fence(
        chunk, replica, ClientCore::read_reply<wire::FenceReply>(std::move(response)),
        std::move(history));
    silences_[chunk][replica].tried = true;
    changed_.wake_all();
    if (done) {
      co_return;
    }
    co_await sleep_for(pause);
    pause = std::min(pause * 2, kPauseMax);
  }
}

bool Takeover::take_fence(size_t chunk, size_t replica, Result<DataReply<wire::FenceReply>> reply,
                          Result<std::vector<wire::HistoryEntry>> history) {
  Silence& silence = silences_[chunk][replica];
  const Code code = reply.ok() ? reply->code : reply.code();
  if (code == Code::kFenced) {
    superseded_ = reply->body ? reply->body->fence : 0;
    return true;
  }
  if (code != Code::kOk) {
    silence.why = reply.ok() ? reply->error().message() : reply.error().message();
    return false;
  }
  if (!history.ok()) {
    silence.why = history.error().message();
    return false;
  }
  const wire::FenceReply& body = *reply->body;
  if (body.finalized != 0) {
    // The service has decided this chunk since it gave us the list: it was not us.
    REACHED("client: takeover meets a finalized chunk");
    superseded_ = 0;
    return true;
  }
  if (body.exists != 0 && Epoch{body.owner_epoch} != place(chunk).owner) {
    silence.why = fmt::format("it holds the chunk of epoch {}, not of {}", body.owner_epoch,
                              place(chunk).owner.number);
    return false;
  }
  FenceAnswer& answer = input_.chunks[chunk].answers[replica];
  answer = FenceAnswer{};
  if (body.exists == 0) {
    answer.kind = AnswerKind::tombstone;
  } else {
    answer.kind = AnswerKind::exists;
    answer.base = body.base;
    answer.length = body.length;
    answer.unit_count = body.unit_count;
    for (const wire::HistoryEntry& entry : *history) {
      answer.history.push_back({.sequence = entry.sequence, .base = entry.base});
    }
  }
  silence = Silence{.tried = true};
  return true;
}

bool Takeover::all_tried() const {
  return std::all_of(silences_.begin(), silences_.end(), [](const auto& replicas) {
    return std::all_of(replicas.begin(), replicas.end(),
                       [](const Silence& silence) { return silence.tried; });
  });
}

Status Takeover::check_superseded() const {
  if (!superseded_) {
    return ok_status();
  }
  return Error(Code::kWrongEpoch,
               fmt::format("{}: another opener came after this one (its epoch {}, ours {})", path_,
                           *superseded_ == 0 ? "is newer" : std::to_string(*superseded_),
                           stream_.epoch.number));
}

std::string Takeover::silent_locations(size_t chunk) const {
  std::string out;
  for (size_t i = 0; i < place(chunk).replicas.size(); ++i) {
    if (input_.chunks[chunk].answers[i].kind == AnswerKind::none) {
      const Location& location = place(chunk).replicas[i].location;
      const auto address = core_.servers.address(location.server);
      out += fmt::format("{}server {} at {}, device {} ({})", out.empty() ? "" : "; ",
                         to_string(location.server),
                         address ? env::to_string(*address) : "an unknown address",
                         to_string(location.device), silences_[chunk][i].why);
    }
  }
  return out;
}

Error Takeover::undecidable(const Undecided& undecided) const {
  std::string text = path_ + ": its end cannot be decided, bring these back:";
  for (const Undecided::Lack& lack : undecided.lacks) {
    text += fmt::format(" chunk {} has {} of {} needed answers, silent: {}.",
                        to_string(place(lack.chunk).id), lack.have, lack.need,
                        silent_locations(lack.chunk));
  }
  return Error(Code::kUndecidable, std::move(text));
}

Task<Result<Verdict>> Takeover::reach_verdict() {
  Instant patience = Instant::never();
  for (;;) {
    CO_TRY_VOID(check_superseded());
    Decision decision = decide(input_);
    if (const auto* contradiction = std::get_if<Contradiction>(&decision)) {
      LOG_ERROR("{}: the replicas contradict each other, nothing is changed: {}", path_,
                contradiction->what);
      co_return Error(Code::kInternal,
                      fmt::format("{}: the replicas contradict each other: {}. Nothing was "
                                  "changed; report this with the logs",
                                  path_, contradiction->what));
    }
    const Instant now = core_.now();
    if (auto* verdict = std::get_if<Verdict>(&decision)) {
      patience = std::min(patience, now + kGrace);
      if (all_tried() || now >= patience) {
        co_return std::move(*verdict);
      }
    } else {
      patience = Instant::never();
      if (now >= deadline_) {
        co_return undecidable(std::get<Undecided>(decision));
      }
    }
    if (core_.stopping) {
      co_return Error(Code::kClosed, path_ + ": the client was stopped");
    }
    co_await changed_.wait(std::min(deadline_, patience));
  }
}

Task<Result<TakeoverResult>> Takeover::publish(Verdict verdict, TakeoverGoal goal) {
  CO_TRY_VOID(check_superseded());
  pb::PublishRequest request;
  request.set_file(stream_.file.number);
  request.set_epoch(stream_.epoch.number);
  request.set_fresh_chunks(goal.fresh_chunks);
  request.set_seal(goal.seal);
  for (const ServerId server : core_.servers.suspects(core_.now())) {
    request.add_exclude_servers(server.number);
  }
  for (const ChunkVerdict& each : verdict.chunks) {
    pb::Decision& decision = *request.add_decisions();
    decision.set_sequence(each.sequence);
    decision.set_dropped(each.dropped);
    decision.set_base(each.base);
    decision.set_length(each.length);
  }
  auto reply = co_await core_.change_stream<pb::PublishReply>(
      stream_.file, wire::Method::publish, std::move(request), deadline_);
  if (!reply.ok()) {
    co_return std::move(reply).error().within(path_ + ": publishing its recovery");
  }
  ++core_.counters.takeovers_published;
  core_.servers.learn_all(reply->stream().servers());
  if (reply->stream().settled_length() != verdict.end) {
    co_return Error(Code::kInternal,
                    fmt::format("{}: published at {} bytes, but the master has {}", path_,
                                verdict.end, reply->stream().settled_length()));
  }
  CO_TRY(fresh, read_chunks(reply->fresh(), stream_.file));
  co_await core_.locate(fresh);
  for (const ChunkVerdict& each : verdict.chunks) {
    const auto listed =
        std::find_if(stream_.chunks.begin(), stream_.chunks.end(),
                     [&](const ChunkPlace& chunk) { return chunk.id.sequence == each.sequence; });
    for (size_t i = 0; !each.dropped && i < listed->replicas.size(); ++i) {
      core_.gate.spawn(core_.reactor, "finalize", TaskClass::control,
                       finalize(shared_from_this(), *listed, each.length, i));
    }
  }
  TakeoverResult out{.epoch = stream_.epoch, .end = verdict.end, .fresh = std::move(fresh)};
  co_return out;
}

// Losing it is harmless: the master repeats it with its heartbeats.
Task<void> Takeover::finalize(std::shared_ptr<Takeover> keep, ChunkPlace decided, u32 length,
                              size_t replica) {
  const Location location = decided.replicas[replica].location;
  const wire::FinalizeRequest request{.chunk = wire::to_wire(decided.id),
                                      .device = location.device,
                                      .length = length,
                                      .version = decided.version,
                                      .reserved = {}};
  const rpc::CallOptions options{.task_class = TaskClass::control,
                                 .deadline = core_.now() + core_.options.fence_timeout};
  auto reply = co_await keep->core_.call_data<wire::LengthReply>(
      location.server, wire::Method::finalize, request, options);
  (void)reply;
}

}  // namespace pangu::client
