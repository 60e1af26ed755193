#pragma once
#include <optional>

#include "master/ops/common.h"
#include "wire/path.h"

// What the changes of the namespace share: looking before planning, and waiting for locks.
namespace pangu::master::ops {

using wire::check_name;

// What stands at a place, as this copy knows it now.
struct Seen {
  std::optional<record::Entry> entry;
  bool is_directory() const { return entry && entry->type() == pb::ENTRY_DIRECTORY; }
};
// Stale, Busy: as for any request that names the place.
Task<Result<Seen>> look(Context& context, const pb::Place& place);

// Before a refusal for something that was seen elsewhere after `id` was seen at a place of this group:
// kOk if it still is there, so that both were true at one moment. Busy: it is not, look again.
Task<Status> still_there(Context& context, pb::Place place, u64 id, Instant deadline);

record::Way way_of(const pb::Place& place);
std::string describe(const pb::Place& place);  // for people

// A condition that a transaction found broken, as an answer to the client: what was seen a moment
// before is not so any more, so the client looks again.
Error as_stale(Error error);

// Calls `attempt(strict)` until it answers something else than Busy, waiting for locks in between.
// An attempt that finds a reason to refuse while `strict` is false answers kRecheck: it is made
// again behind a read barrier, where what it sees is true.
inline constexpr Code kRecheck = Code::kInternal;
Task<bool> wait_for_locks(Context& context, Instant deadline);

template <class F>
Task<Result<std::string>> until_decided(Context& context, F attempt, Instant deadline) {
  bool strict = false;
  for (;;) {
    if (strict) {
      auto passed = co_await context.group.read_barrier(deadline);
      CO_TRY_VOID(std::move(passed));
    }
    auto answer = co_await attempt(strict);
    if (answer.code() == kRecheck && !strict) {
      strict = true;
      continue;
    }
    if (answer.code() != Code::kBusy) {
      co_return answer;
    }
    const bool again = co_await wait_for_locks(context, deadline);
    if (!again) {
      co_return answer;
    }
  }
}

// Plans of moves (the root group): ops/moves.cc.
Answer move_directory(Context& context, pb::RenameRequest request, Instant deadline);
Answer remove_tree(Context& context, pb::RemoveRequest request, Instant deadline);

}  // namespace pangu::master::ops
