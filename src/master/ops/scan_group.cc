#include "base/reached.h"
#include "master/ops/common.h"
#include "runtime/await.h"

namespace pangu::master::ops {
namespace {

constexpr u32 kPageDefault = 1000;
constexpr u32 kPageMax = 10'000;

void fill(pb::ScanGroupReply& reply, KvPage page) {
  size_t bytes = 0;
  reply.set_more(page.more);
  for (KvEntry& entry : page.entries) {
    if (bytes > kReplyBytesSoft) {
      reply.set_more(true);
      break;
    }
    bytes += entry.key.size() + entry.value.size() + 8;
    reply.add_keys(std::move(entry.key));
    reply.add_values(std::move(entry.value));
  }
}

}  // namespace

Answer scan_group(Context& context, std::string body, Instant) {
  CO_TRY(request, parse<pb::ScanGroupRequest>(body));
  Group& group = context.group;
  const Instant now = group.reactor().now();
  u64 number = request.snapshot();
  if (number == 0) {
    CO_TRY(begun, group.scans().begin(group.kv().blocking_view(), group.applied_index(), now));
    number = begun;
  }
  CO_TRY(view, group.scans().find(number, now));
  const u32 limit = request.limit() == 0 ? kPageDefault : std::min(request.limit(), kPageMax);
  const std::string from = request.after().empty() ? "" : request.after() + '\0';
  auto work = [&view, &from, limit] { return view->reader->scan(from, kKeysEnd, limit); };
  auto scanned = co_await run_in_background(work);
  CO_TRY(page, std::move(scanned));
  pb::ScanGroupReply reply;
  fill(reply, std::move(page));
  reply.set_snapshot(number);
  reply.set_index(view->index);
  reply.mutable_info()->set_group(group.id().value());
  reply.mutable_info()->set_kind(group.kind());
  reply.mutable_info()->set_index(group.meta().index());
  if (!reply.more()) {
    group.scans().end(number);
  }
  co_return reply.SerializeAsString();
}

}  // namespace pangu::master::ops
