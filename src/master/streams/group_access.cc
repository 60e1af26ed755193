#include "master/streams/group_access.h"

namespace pangu::master {

u64 GroupAccess::leading_term() const {
  return group_.closing() || !group_.check_leader().ok() ? 0 : group_.replica().term().number;
}

Task<Status> GroupAccess::look(std::function<void(Txn&)> look) {
  auto query = [look = std::move(look)](Txn& txn) -> Status {
    look(txn);
    return ok_status();
  };
  auto looked = co_await group_.query(std::move(query));
  co_return looked;
}

Task<Status> GroupAccess::execute(InternalMethod method, std::string request, Instant deadline) {
  auto outcome = co_await group_.execute(static_cast<u32>(method), std::move(request), {}, deadline);
  if (!outcome.ok()) {
    co_return std::move(outcome).error();
  }
  const Code code = code_from_number(static_cast<u16>(outcome->code()));
  if (code != Code::kOk) {
    co_return Error(code, std::move(*outcome->mutable_text()));
  }
  co_return ok_status();
}

std::vector<pb::ServerInfo> GroupAccess::servers() {
  const ServerTable& table = group_.servers();
  const Instant now = group_.reactor().now();
  std::vector<pb::ServerInfo> out;
  for (const ServerId server : table.ids()) {
    table.describe(out.emplace_back(), server, now);
    table.describe_devices(out.back(), server);
  }
  return out;
}

}  // namespace pangu::master
