#include "client/meta_client.h"

#include <algorithm>
#include <fmt/format.h>

#include "base/reached.h"
#include "runtime/await.h"

namespace pangu::client {

namespace {

// Elections are over in milliseconds if a connection broke, else within half a second: for the
// first second it is asked again soon.
constexpr Duration kPauseFirst = milliseconds(5);
constexpr Duration kPauseSoon = milliseconds(50);
constexpr Duration kPauseMax = milliseconds(400);
constexpr Duration kSoon = seconds(1);
constexpr u32 kRedirectsAtOnce = 2;
constexpr Duration kMapPause = milliseconds(100);  // between fetches of the map

// What another attempt may cure. Of a master's own answers also those of one that is going down or
// has lost its place while it worked.
bool worth_retrying(Code code, bool from_master) {
  switch (code) {
    case Code::kConnectionLost:
    case Code::kConnectFailed:
    case Code::kTimeout:
    case Code::kBusy:
    case Code::kNotLeader:
      return true;
    case Code::kUnknownOutcome:
    case Code::kUnavailable:
    case Code::kClosed:
    case Code::kIoError:
      return from_master;
    default:
      return false;
  }
}

bool may_have_acted(Code code) {
  return code == Code::kConnectionLost || code == Code::kTimeout ||
         code == Code::kUnknownOutcome || code == Code::kClosed;
}

// An error of a master that stays the answer to that request id whatever comes. Others say only
// what became of this attempt.
bool is_lasting(Code code) {
  return retry_class(code) == Retry::never && code != Code::kInternal &&
         code != Code::kUnsupported && code != Code::kUnknownMethod;
}

std::optional<env::Address> read_hint(std::string_view text) {
  auto address = env::parse_address(text);
  return address.ok() && address->port != 0 ? std::optional(*address) : std::nullopt;
}

}  // namespace

Change::Change(MetaClient& meta) : meta_(meta), sequence_(meta.take_sequence()) {}
Change::~Change() {
  meta_.outstanding_.erase(sequence_);
}
void Change::renew() {
  CHECK(!unknown());
  const u64 next = meta_.take_sequence();
  meta_.outstanding_.erase(sequence_);
  sequence_ = next;
}

MetaClient::MetaClient(Reactor& reactor, Links& links, std::vector<env::Address> masters,
                       Uuid client, const ClientOptions& options, ClientCounters& counters)
    : reactor_(reactor),
      links_(links),
      map_(std::move(masters)),
      routes_(map_),
      client_(client),
      attempt_first_(std::min(options.master_first_timeout, options.master_timeout)),
      attempt_max_(options.master_timeout),
      counters_(counters) {}

void MetaClient::stop() {
  stopped_ = true;
  map_news_.wake_all();
}

u64 MetaClient::take_sequence() {
  const u64 sequence = next_sequence_++;
  outstanding_.insert(sequence);
  return sequence;
}

void MetaClient::fill(pb::RequestId& id, const Change& change) const {
  wire::set(*id.mutable_client(), client_);
  id.set_sequence(change.sequence_);
  id.set_first_unanswered(*outstanding_.begin());
}

Duration MetaClient::patience(const Target& target, const Attempts& attempts) const {
  Duration out = target.patience.ns > 0 ? target.patience : attempt_first_;
  for (u32 i = 0; i < attempts.timeouts && out < attempt_max_; ++i) {
    out = out * 2;
  }
  return std::min(out, std::max(attempt_max_, target.patience));
}

// Longer each time, up to half as much again by chance so that clients do not march in step.
Duration MetaClient::next_pause(Attempts& attempts) {
  const Instant now = reactor_.now();
  if (attempts.failing_since == Instant::never()) {
    attempts.failing_since = now;
    attempts.pause = kPauseFirst;
  }
  const Duration most = now - attempts.failing_since < kSoon ? kPauseSoon : kPauseMax;
  const Duration pause = std::min(attempts.pause, most);
  attempts.pause = pause * 2;
  const u64 jitter = reactor_.env().random() % (static_cast<u64>(pause.ns) / 2 + 1);
  return pause + nanoseconds(static_cast<i64>(jitter));
}

bool MetaClient::note_trouble(const Target& target, const env::Address& to, Instant sent,
                              const Error& error, bool from_master, Attempts& attempts) {
  const Instant now = reactor_.now();
  const Code code = error.code();
  const size_t members = map_.members(target.group).size();
  if (from_master) {
    routes_.note_answer(to, now);
  }
  if (code == Code::kNotLeader) {
    // NOT_LEADER carries the leader's address as its text.
    const auto hint = read_hint(error.context());
    attempts.map_is_doubtful = !hint && attempts.count >= members;
    if (routes_.note_not_leader(target.group, to, hint, now)) {
      return ++attempts.redirects <= kRedirectsAtOnce;
    }
  } else if (code == Code::kStale) {
    attempts.map_is_doubtful = true;
    routes_.step_on(target.group, to);
  } else if (code == Code::kTimeout && !from_master) {
    ++attempts.timeouts;
    attempts.map_is_doubtful = attempts.count % members == 0;
    routes_.note_silence(target.group, to, sent, now);
  } else if ((code == Code::kConnectFailed || code == Code::kConnectionLost) && !from_master) {
    attempts.map_is_doubtful = attempts.count % members == 0;
    routes_.note_unreachable(target.group, to, now);
  } else if (code != Code::kBusy) {
    routes_.step_on(target.group, to);
  }
  attempts.redirects = 0;
  return false;
}

Error MetaClient::give_up(const Change* change, wire::Method method, const Attempts& attempts,
                          const Error& last) {
  REACHED("client: no master answered in time");
  const bool unknown = change != nullptr && change->unknown();
  return Error(unknown ? Code::kUnknownOutcome : Code::kUnavailable,
               fmt::format("{}: no master answered after {} attempts, the last was {}",
                           wire::to_string(method), attempts.count, last.message()));
}

// No further attempt will be made here.
Error MetaClient::conclude(Change* change, const Target& target, bool from_master, Error error) {
  if (change == nullptr || !change->unknown()) {
    return error;
  }
  if (from_master && is_lasting(error.code())) {
    change->unknown_in_ = 0;
    return error;
  }
  if (error.code() == Code::kStale && target.stale == Target::Stale::way) {
    return error;  // the caller will ask the same group again, or give up
  }
  REACHED("client: an attempt may have been carried out, and the next one failed for good");
  return Error(Code::kUnknownOutcome, "an earlier attempt may have been carried out; the last one: " +
                                          error.message());
}

Task<Result<Slice>> MetaClient::exchange(Target target, wire::Method method, std::string body,
                                         Change* change, Instant deadline) {
  if (change != nullptr && change->unknown_in_ != 0 && change->unknown_in_ != target.group) {
    REACHED("client: a change of unknown outcome would go to another group");
    co_return Error(Code::kUnknownOutcome,
                    fmt::format("{}: group {} may have done it, and now group {} would have to",
                                wire::to_string(method), change->unknown_in_, target.group));
  }
  auto ready = co_await ensure_map(deadline);
  if (!ready.ok()) {
    co_return std::move(ready).error();
  }
  Attempts attempts;
  for (;;) {
    if (stopped_) {
      const bool unknown = change != nullptr && change->unknown();
      co_return Error(unknown ? Code::kUnknownOutcome : Code::kClosed, "the client was stopped");
    }
    const Instant sent = reactor_.now();
    const env::Address to = routes_.choose(target.group, sent);
    const rpc::CallOptions options{
        .task_class = TaskClass::control,
        .deadline = std::min(deadline, sent + patience(target, attempts))};
    ++attempts.count;
    ++counters_.master_calls;
    auto response =
        co_await links_.call(to, rpc::ConnectionKind::control, method,
                             as_bytes_of(std::string_view(body)), rpc::Payload{}, options);
    const bool from_master = response.ok();
    const Code code = from_master ? response->code : response.code();
    if (code == Code::kOk) {
      routes_.note_answer(to, reactor_.now());
      routes_.note_leader(target.group, to);
      if (change != nullptr) {
        change->unknown_in_ = 0;
      }
      co_return std::move(response->body);
    }
    Error error = from_master ? response->error() : std::move(response).error();
    if (change != nullptr && may_have_acted(code)) {
      change->unknown_in_ = target.group;
    }
    if (code == Code::kClosed && !from_master) {
      const bool unknown = change != nullptr;
      co_return Error(unknown ? Code::kUnknownOutcome : Code::kClosed, "the client was stopped");
    }
    const bool stale_map = code == Code::kStale && target.stale == Target::Stale::map;
    if (!stale_map && !worth_retrying(code, from_master)) {
      if (from_master) {
        routes_.note_answer(to, reactor_.now());
      }
      co_return conclude(change, target, from_master, std::move(error));
    }
    const bool at_once = note_trouble(target, to, sent, error, from_master, attempts);
    ++counters_.master_retries;
    if (at_once) {
      ++counters_.master_redirects;
      continue;
    }
    const Duration pause = next_pause(attempts);
    if (reactor_.now() + pause >= deadline) {
      co_return give_up(change, method, attempts, std::move(error).within(env::to_string(to)));
    }
    if (attempts.map_is_doubtful) {
      attempts.map_is_doubtful = false;
      co_await refresh_map(deadline);
    }
    co_await sleep_for(pause);
  }
}

Task<Result<Slice>> MetaClient::call_once(env::Address to, wire::Method method, std::string body,
                                          Instant deadline) {
  const rpc::CallOptions options{.task_class = TaskClass::control, .deadline = deadline};
  ++counters_.master_calls;
  auto response =
      co_await links_.call(to, rpc::ConnectionKind::control, method,
                           as_bytes_of(std::string_view(body)), rpc::Payload{}, options);
  if (!response.ok()) {
    co_return std::move(response).error();
  }
  if (response->code != Code::kOk) {
    co_return response->error();
  }
  co_return std::move(response->body);
}

// From the first master that has one, each asked for a short time only.
Task<Status> MetaClient::fetch_map(Duration patience, Instant deadline) {
  const size_t count = map_.masters().size();
  Error last(Code::kUnavailable);
  for (size_t i = 0; i < count && !stopped_; ++i) {
    const std::vector<env::Address>& masters = map_.masters();
    const env::Address to = masters[map_turn_ % masters.size()];
    const Instant sent = reactor_.now();
    auto reply = co_await call_process<pb::GetPartitionMapReply>(
        to, wire::Method::get_partition_map, pb::GetPartitionMapRequest{},
        std::min(deadline, sent + patience));
    Status learned = reply.ok() ? map_.learn(reply->map()) : Status(std::move(reply).error());
    if (learned.ok()) {
      ++counters_.maps_fetched;
      co_return ok_status();
    }
    ++map_turn_;
    last = std::move(learned).error().within(env::to_string(to));
  }
  co_return last;
}

Task<Status> MetaClient::ensure_map(Instant deadline) {
  Attempts attempts;
  Error last(Code::kUnavailable);
  while (!map_.known()) {
    if (stopped_) {
      co_return Error(Code::kClosed, "the client was stopped");
    }
    if (fetching_map_) {
      const bool news = co_await map_news_.wait(deadline);
      if (!news) {
        break;
      }
      continue;
    }
    fetching_map_ = true;
    auto fetched = co_await fetch_map(patience({}, attempts), deadline);
    fetching_map_ = false;
    map_fetched_ = reactor_.now();
    map_news_.wake_all();
    if (fetched.ok()) {
      break;
    }
    if (!worth_retrying(fetched.code(), true)) {
      co_return fetched;  // not a master of ours, or no access to it
    }
    last = std::move(fetched).error();
    ++attempts.timeouts;
    const Duration pause = next_pause(attempts);
    if (reactor_.now() + pause >= deadline) {
      break;
    }
    co_await sleep_for(pause);
  }
  if (!map_.known()) {
    co_return Error(Code::kUnavailable, fmt::format("no master gives the partition map, the last "
                                                    "was {}",
                                                    last.message()));
  }
  co_return ok_status();
}

Task<void> MetaClient::refresh_map(Instant deadline) {
  if (fetching_map_) {
    co_await map_news_.wait(deadline);
    co_return;
  }
  if (map_fetched_ && reactor_.now() - *map_fetched_ < kMapPause) {
    co_return;
  }
  fetching_map_ = true;
  ++map_turn_;  // who gave the old one may not know better yet
  auto fetched = co_await fetch_map(attempt_first_, deadline);
  (void)fetched;  // whoever needed it tells what became of its own request
  fetching_map_ = false;
  map_fetched_ = reactor_.now();
  map_news_.wake_all();
}

Task<Result<u64>> MetaClient::group_of_directory(u64 directory, Instant deadline) {
  CO_TRY_VOID(co_await ensure_map(deadline));
  Attempts attempts;
  auto group = map_.group_of_directory(directory);
  while (!group && !stopped_) {
    REACHED("client: a directory of a subtree that the map did not know");
    co_await refresh_map(deadline);
    group = map_.group_of_directory(directory);
    const Duration pause = next_pause(attempts);
    if (group || reactor_.now() + pause >= deadline) {
      break;
    }
    co_await sleep_for(pause);
  }
  if (!group) {
    co_return Error(Code::kUnavailable,
                    fmt::format("the partition map does not have subtree {}, to which directory "
                                "0x{:x} belongs",
                                wire::subtree_of(directory), directory));
  }
  co_return *group;
}

Task<void> MetaClient::doubt(u64 group, Instant deadline) {
  routes_.step_on(group, routes_.choose(group, reactor_.now()));
  co_await refresh_map(deadline);
}

}  // namespace pangu::client
