#include "base/reached.h"
#include "master/ops/common.h"
#include "wire/path.h"

namespace pangu::master::ops {

// A recursive removal has happened once its command is applied; its answer, with the counts, comes
// when everything is freed. A caller that does not wait so long asks again with the same request id.
Task<Result<std::string>> remove(Context& context, std::string body, Instant deadline) {
  CO_TRY(request, parse<pb::RemoveRequest>(body));
  CO_TRY_VOID(wire::parse_path(request.path()));
  for (;;) {
    auto outcome = co_await context.group.execute(static_cast<u32>(wire::Method::remove), body, {},
                                                  deadline);
    if (!outcome.ok()) {
      co_return std::move(outcome).error();
    }
    if (outcome->purge() == 0) {
      co_return answer_of(std::move(*outcome));
    }
    REACHED("master: a recursive removal waits until everything is freed");
    const bool purged = co_await context.group.wait_purged(outcome->purge(), deadline);
    if (!purged) {
      co_return Error(Code::kTimeout, "removed; freeing what was in it takes longer");
    }
  }
}

}  // namespace pangu::master::ops
