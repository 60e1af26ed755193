#include "master/ops/names.h"
#include "master/state/limits.h"
#include "master/state/namespace.h"

namespace pangu::master::ops {
namespace {

// Read in one go; a longer page is put together from several, so that it holds up nobody.
constexpr u32 kPiece = 200;

}  // namespace

Answer list(Context& context, std::string body, Instant deadline) {
  CO_TRY(request, parse<pb::ListRequest>(body));
  const u32 wanted = request.limit() == 0 ? kListDefault : std::min(request.limit(), kListMax);
  pb::ListReply reply;
  size_t bytes = 0;
  for (;;) {
    request.set_limit(std::min(wanted - static_cast<u32>(reply.entries_size()), kPiece));
    auto query = [request](Txn& txn) { return master::list(txn, request); };
    auto answer = co_await context.group.query(query);
    if (answer.code() == Code::kBusy) {
      const bool again = co_await wait_for_locks(context, deadline);
      if (again) {
        continue;
      }
    }
    CO_TRY(piece, std::move(answer));
    bytes += piece.ByteSizeLong();
    reply.set_more(piece.more());
    for (pb::Entry& entry : *piece.mutable_entries()) {
      reply.add_entries()->Swap(&entry);
    }
    const bool full = static_cast<u32>(reply.entries_size()) >= wanted || bytes > kReplyBytesSoft;
    if (full || !piece.more() || piece.entries().empty()) {
      co_return reply.SerializeAsString();
    }
    request.set_after(reply.entries(reply.entries_size() - 1).name());
    co_await yield_if_expired();
  }
}

}  // namespace pangu::master::ops
