#include "master/cluster/group_calls.h"

#include <fmt/core.h>

#include "base/reached.h"
#include "runtime/await.h"

namespace pangu::master {
namespace {

constexpr Duration kAttempt = milliseconds(500);
constexpr Duration kBackoffFirst = milliseconds(5);
constexpr Duration kBackoffMax = milliseconds(50);

// Somebody else may know better.
bool ask_another(Code code) {
  return code == Code::kNotLeader || code == Code::kStale || code == Code::kConnectFailed ||
         code == Code::kConnectionLost || code == Code::kTimeout || code == Code::kClosed;
}

}  // namespace

Result<env::Address> GroupCalls::choose(u64 group, u64 attempt) const {
  if (const auto known = leaders_.find(group); known != leaders_.end()) {
    return known->second;
  }
  const pb::GroupInfo* const info = map_.find(group);
  if (info == nullptr || info->nodes().empty()) {
    return Error(Code::kUnavailable, fmt::format("nobody is known to have group {}", group));
  }
  const u64 node = info->nodes(static_cast<int>(attempt % static_cast<u64>(info->nodes_size())));
  const auto address = map_.address(node);
  if (!address) {
    return Error(Code::kUnavailable, fmt::format("the address of master {} is not known", node));
  }
  return *address;
}

void GroupCalls::learn_leader(u64 group, std::string_view text) {
  const auto address = env::parse_address(text);
  if (address.ok() && address->port != 0) {
    leaders_[group] = *address;
  } else {
    leaders_.erase(group);
  }
}

Task<Result<std::string>> GroupCalls::call(u64 group, wire::Method method, std::string body,
                                           Instant deadline) {
  Duration backoff = kBackoffFirst;
  for (u64 attempt = 0;; ++attempt) {
    Error error(Code::kUnavailable);
    if (local_.leads(group)) {
      auto answer = co_await local_.serve(group, method, body,
                                          std::min(deadline, reactor_.now() + kAttempt));
      if (answer.ok() || !ask_another(answer.code())) {
        co_return answer;
      }
      error = std::move(answer).error();
    } else if (auto address = choose(group, attempt); address.ok()) {
      auto answer = co_await call_process(*address, method, body,
                                          std::min(deadline, reactor_.now() + kAttempt));
      if (answer.ok()) {
        leaders_[group] = *address;
        co_return answer;
      }
      if (!ask_another(answer.code())) {
        co_return answer;
      }
      error = std::move(answer).error();
      learn_leader(group, error.code() == Code::kNotLeader ? error.context() : "");
    } else {
      error = std::move(address).error();
    }
    if (reactor_.now() + backoff >= deadline) {
      REACHED("master: no leader of another group found in time");
      co_return Error(Code::kUnavailable,
                      fmt::format("{} to group {}: {}", wire::to_string(method), group,
                                  error.message()));
    }
    co_await sleep_for(backoff);
    backoff = std::min(backoff * 2, kBackoffMax);
  }
}

Task<Result<std::string>> GroupCalls::call_process(const env::Address& to, wire::Method method,
                                                   std::string body, Instant deadline) {
  const rpc::CallOptions options{.task_class = TaskClass::control, .deadline = deadline};
  auto response = co_await peers_.call(to, method, std::move(body), options);
  if (!response.ok()) {
    co_return std::move(response).error();
  }
  if (response->code != Code::kOk) {
    co_return response->error();
  }
  co_return std::string(as_text(response->body.bytes()));
}

}  // namespace pangu::master
