#include "master/ops/common.h"
#include "wire/path.h"

namespace pangu::master::ops {

Task<Result<std::string>> create_file(Context& context, std::string body, Instant deadline) {
  CO_TRY(request, parse<pb::CreateFileRequest>(body));
  // A bad path is not worth a place in the log.
  CO_TRY_VOID(wire::parse_path(request.path()));
  auto answer = co_await propose(context, wire::Method::create_file, std::move(body), {}, deadline);
  co_return answer;
}

}  // namespace pangu::master::ops
