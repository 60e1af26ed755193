#include "master/server/hosted_group.h"

#include <fmt/core.h>

namespace pangu::master {

HostedGroup::HostedGroup(const Surroundings& around, std::string folder)
    : group_(around.reactor, around.options, around.liveness, std::move(folder)),
      transactions_(group_, around.calls),
      context_{.group = group_,
               .transactions = transactions_,
               .calls = around.calls,
               .map = around.map,
               .cluster = around.cluster,
               .version = around.version},
      server_calls_(around.server_calls),
      stream_options_(around.streams) {
  group_.set_server_source(around.servers);
}

Task<Status> HostedGroup::open(std::unique_ptr<Kv> kv, raft::Host& host, raft::GroupId id,
                               raft::Configuration founders, const Genesis& genesis) {
  auto opened = co_await group_.open(std::move(kv), host, id, std::move(founders), genesis);
  CO_TRY_VOID(std::move(opened));
  transactions_.start();
  if (group_.kind() == pb::GROUP_STREAM) {
    loops_ = std::make_unique<StreamLoops>(group_.reactor(), access_, server_calls_,
                                           stream_options_);
    loops_->start();
  }
  co_return ok_status();
}

Task<Result<std::string>> HostedGroup::serve(wire::Method method, std::string body,
                                             Instant deadline) {
  const ops::Operation* const operation = ops::find(method);
  if (operation == nullptr || (operation->kinds & ops::bit_of(group_.kind())) == 0) {
    co_return Error(Code::kUnknownMethod,
                    fmt::format("{} is no method of group {}", wire::to_string(method),
                                group_.id().value()));
  }
  if (requests_.closed()) {
    co_return Error(Code::kStale, "this process gives the group up");
  }
  const Gate::Holder holder(requests_);
  CO_TRY_VOID(group_.check_leader());
  if (operation->reads) {
    auto passed = co_await group_.read_barrier(deadline);
    CO_TRY_VOID(std::move(passed));
  }
  auto answer = co_await operation->run(context_, std::move(body), deadline);
  co_return answer;
}

Task<void> HostedGroup::stop() {
  co_await requests_.close();
  co_await transactions_.stop();
  if (loops_) {
    co_await loops_->stop();
  }
  co_await group_.stop();
}

}  // namespace pangu::master
