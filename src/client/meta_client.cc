#include "client/meta_client.h"

#include <algorithm>
#include <fmt/format.h>

#include "base/reached.h"
#include "runtime/await.h"

namespace pangu::client {

namespace {

constexpr Duration kBackoffFirst = milliseconds(5);
constexpr Duration kBackoffMax = milliseconds(400);
constexpr size_t kMastersMax = 64;

// What the transport or a master says that another attempt may cure.
bool worth_retrying(Code code) {
  return code == Code::kConnectionLost || code == Code::kConnectFailed || code == Code::kTimeout ||
         code == Code::kBusy || code == Code::kNotLeader;
}
bool may_have_acted(Code code) {
  return code == Code::kConnectionLost || code == Code::kTimeout;
}

}  // namespace

MetaClient::MetaClient(Reactor& reactor, Links& links, std::vector<env::Address> masters,
                       Uuid client, Duration attempt_timeout, ClientCounters& counters)
    : reactor_(reactor),
      links_(links),
      masters_(std::move(masters)),
      client_(client),
      attempt_timeout_(attempt_timeout),
      counters_(counters) {
  CHECK(!masters_.empty());
}

u64 MetaClient::take_sequence(pb::RequestId& id) {
  const u64 sequence = next_sequence_++;
  outstanding_.insert(sequence);
  wire::set(*id.mutable_client(), client_);
  id.set_sequence(sequence);
  id.set_first_unanswered(*outstanding_.begin());
  return sequence;
}

void MetaClient::choose_other(std::string_view text) {
  // NOT_LEADER carries the leader's address as its text.
  if (auto leader = env::parse_address(text); leader.ok() && leader->port != 0) {
    const auto known = std::find(masters_.begin(), masters_.end(), *leader);
    if (known != masters_.end()) {
      current_ = static_cast<size_t>(known - masters_.begin());
      return;
    }
    if (masters_.size() < kMastersMax) {
      masters_.push_back(*leader);
      current_ = masters_.size() - 1;
      return;
    }
  }
  current_ = (current_ + 1) % masters_.size();
}

Task<Result<Slice>> MetaClient::exchange(wire::Method method, std::string body, Instant deadline,
                                         Effect effect) {
  Duration backoff = kBackoffFirst;
  bool unknown = false;
  for (u64 attempt = 0;; ++attempt) {
    const Instant now = reactor_.now();
    const rpc::CallOptions options{.task_class = TaskClass::control,
                                   .deadline = std::min(deadline, now + attempt_timeout_)};
    ++counters_.master_calls;
    const env::Address to = masters_[current_];
    auto response =
        co_await links_.call(to, rpc::ConnectionKind::control, method,
                             as_bytes_of(std::string_view(body)), rpc::Payload{}, options);
    const Code code = response.ok() ? response->code : response.code();
    if (code == Code::kOk) {
      co_return std::move(response->body);
    }
    Error error = response.ok() ? response->error() : std::move(response).error();
    if (!worth_retrying(code)) {
      co_return std::move(error);
    }
    unknown = unknown || may_have_acted(code);
    if (code != Code::kBusy) {
      choose_other(error.context());
    }
    if (reactor_.now() + backoff >= deadline) {
      REACHED("client: no master answered in time");
      const bool outcome_unknown = unknown && effect == Effect::changes;
      co_return Error(
          outcome_unknown ? Code::kUnknownOutcome : Code::kUnavailable,
          fmt::format("{}: no master answered after {} attempts, the last was {}: {}",
                      wire::to_string(method), attempt + 1, env::to_string(to), error.message()));
    }
    ++counters_.master_retries;
    // A redirect to a known leader is followed at once, any other retry waits a little longer each
    // time, up to half as much again by chance so that clients do not march in step.
    if (code != Code::kNotLeader || attempt > 2) {
      const u64 jitter = reactor_.env().random() % (static_cast<u64>(backoff.ns) / 2 + 1);
      co_await sleep_for(backoff + nanoseconds(static_cast<i64>(jitter)));
      backoff = std::min(backoff * 2, kBackoffMax);
    }
  }
}

}  // namespace pangu::client
