#include <fmt/core.h>

#include "master/ops/names.h"
#include "master/state/namespace.h"

namespace pangu::master::ops {
namespace {

Transactions::Plan plan(Context& context, const pb::Place& place, const record::Entry& entry) {
  Transactions::Plan out;
  record::Part& own = out.parts[context.group.id().value()];
  *own.add_ways() = way_of(place);
  record::EraseEntry& erase = *own.add_steps()->mutable_erase_entry();
  erase.set_directory(place.directory());
  erase.set_name(place.name());
  erase.set_id(entry.id());
  const bool directory = entry.type() == pb::ENTRY_DIRECTORY;
  erase.set_bury(!directory);
  if (directory) {
    const u64 group = context.map.group_of_directory(entry.id());
    out.parts[group].add_steps()->mutable_erase_directory()->set_id(entry.id());
  }
  out.reply = pb::RemoveReply().SerializeAsString();
  return out;
}

Task<Result<std::string>> attempt(Context& context, const pb::RemoveRequest& request, bool strict,
                                  Instant deadline) {
  const pb::Place& place = request.place();
  auto looked = co_await look(context, place);
  CO_TRY(seen, std::move(looked));
  if (!seen.entry) {
    if (!strict) {
      co_return Error(kRecheck);
    }
    const Error error(Code::kNotFound, fmt::format("{} does not exist", describe(place)));
    co_return co_await context.transactions.refuse(request.id(), error, deadline);
  }
  if (request.removes() != 0 && seen.entry->id() != request.removes()) {
    // Our own first attempt may have removed it, and somebody made it again since.
    if (!strict) {
      co_return Error(kRecheck);
    }
    const auto kept = co_await kept_answer(context, request.id());
    if (kept) {
      co_return answer_of(*kept);
    }
    co_return Error(Code::kStale, fmt::format("{} is another one now", describe(place)));
  }
  auto answer = co_await context.transactions.run(
      request.id(), plan(context, place, *seen.entry), deadline);
  if (answer.code() == Code::kNotEmpty) {
    auto still = co_await still_there(context, place, seen.entry->id(), deadline);
    CO_TRY_VOID(std::move(still));
    const Error error(Code::kNotEmpty, fmt::format("{} holds entries", describe(place)));
    co_return co_await context.transactions.refuse(request.id(), error, deadline);
  }
  if (!answer.ok()) {
    co_return as_stale(std::move(answer).error());
  }
  co_return answer;
}

}  // namespace

Answer remove(Context& context, std::string body, Instant deadline) {
  CO_TRY(request, parse<pb::RemoveRequest>(body));
  CO_TRY_VOID(check_name(request.place().name()));
  if (context.group.kind() == pb::GROUP_ROOT) {
    auto answer = co_await remove_tree(context, std::move(request), deadline);
    co_return answer;
  }
  auto once = [&](bool strict) { return attempt(context, request, strict, deadline); };
  auto answer = co_await until_decided(context, once, deadline);
  co_return answer;
}

}  // namespace pangu::master::ops
