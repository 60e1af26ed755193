#include "master/ops/names.h"
#include "master/state/namespace.h"

namespace pangu::master::ops {

Answer create_file(Context& context, std::string body, Instant deadline) {
  CO_TRY(request, parse<pb::CreateFileRequest>(body));
  // A bad name is not worth a place in the log.
  CO_TRY_VOID(check_name(request.place().name()));
  for (;;) {
    auto answer =
        co_await propose(context, static_cast<u32>(wire::Method::create_file), body, {}, deadline);
    if (answer.code() != Code::kBusy) {
      co_return answer;
    }
    const bool again = co_await wait_for_locks(context, deadline);
    if (!again) {
      co_return answer;
    }
  }
}

}  // namespace pangu::master::ops
