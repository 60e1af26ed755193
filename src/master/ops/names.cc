#include "master/ops/names.h"

#include <fmt/core.h>

#include "base/reached.h"
#include "master/state/locks.h"
#include "master/state/namespace.h"

namespace pangu::master::ops {
namespace {

// A lock may stand in another group: then nobody wakes us.
constexpr Duration kLook = milliseconds(10);

}  // namespace

Task<Result<Seen>> look(Context& context, const pb::Place& place) {
  auto query = [&place](Txn& txn) -> Result<Seen> {
    TRY_VOID(check_way(txn, place.chain(), place.seen()));
    if (place.chain().empty() || place.chain(place.chain_size() - 1) != place.directory()) {
      return Error(Code::kInvalidArgument, "the chain of a place must end with its directory");
    }
    // What is decided elsewhere may not be done here yet.
    if (entry_locked(txn, place.directory(), place.name())) {
      return Error(Code::kBusy, "the entry is locked by another transaction");
    }
    return Seen{find_entry(txn, place.directory(), place.name())};
  };
  auto seen = co_await context.group.query(query);
  co_return seen;
}

Task<Status> still_there(Context& context, pb::Place place, u64 id, Instant deadline) {
  auto passed = co_await context.group.read_barrier(deadline);
  CO_TRY_VOID(std::move(passed));
  auto looked = co_await look(context, place);
  CO_TRY(seen, std::move(looked));
  if (!seen.entry || seen.entry->id() != id) {
    REACHED("master: what a refusal is about went while it was found out");
    co_return Error(Code::kBusy, fmt::format("{} has changed meanwhile", describe(place)));
  }
  co_return ok_status();
}

record::Way way_of(const pb::Place& place) {
  record::Way way;
  way.mutable_chain()->Assign(place.chain().begin(), place.chain().end());
  way.set_seen(place.seen());
  return way;
}

std::string describe(const pb::Place& place) {
  return fmt::format("'{}' in directory {:x}", place.name(), place.directory());
}

Error as_stale(Error error) {
  return error.code() == Code::kConflict || error.code() == Code::kNotFound
             ? Error(Code::kStale, std::string(error.context()))
             : error;
}

Task<bool> wait_for_locks(Context& context, Instant deadline) {
  REACHED("master: a change waits for a lock of another one");
  Reactor& reactor = context.group.reactor();
  co_await context.group.unlocked().wait(std::min(deadline, reactor.now() + kLook));
  co_return reactor.now() < deadline && !context.group.closing();
}

}  // namespace pangu::master::ops
