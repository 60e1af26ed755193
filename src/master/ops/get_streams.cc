#include "master/ops/common.h"
#include "master/state/stream.h"

namespace pangu::master::ops {

// As of one moment each; together they end before the reply is too large, and what is left then is
// answered Busy.
Answer get_streams(Context& context, std::string body, Instant) {
  CO_TRY(request, parse<pb::GetStreamsRequest>(body));
  co_await know_servers(context);
  pb::GetStreamsReply reply;
  size_t bytes = 0;
  for (const pb::GetStreamRequest& one : request.requests()) {
    pb::GetStreamsReply::One& out = *reply.add_replies();
    if (bytes > kReplyBytesSoft) {
      out.set_code(static_cast<u32>(Code::kBusy));
      out.set_text("too much was asked for at once");
      continue;
    }
    auto query = [&one](Txn& txn) { return master::get_stream(txn, one); };
    auto answer = co_await context.group.query(query);
    if (!answer.ok()) {
      out.set_code(static_cast<u32>(answer.code()));
      out.set_text(std::string(answer.error().context()));
      continue;
    }
    add_servers(context, answer->stream().chunks(), *answer->mutable_stream()->mutable_servers());
    *out.mutable_reply() = std::move(*answer);
    bytes += out.ByteSizeLong();
    co_await yield_if_expired();
  }
  co_return reply.SerializeAsString();
}

}  // namespace pangu::master::ops
