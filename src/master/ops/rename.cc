#include <fmt/core.h>

#include "master/ops/names.h"
#include "master/state/namespace.h"

namespace pangu::master::ops {
namespace {

Transactions::Plan plan(Context& context, const pb::RenameRequest& request,
                        const record::Entry& entry) {
  Transactions::Plan out;
  record::Part& own = out.parts[context.group.id().value()];
  *own.add_ways() = way_of(request.from());
  record::EraseEntry& erase = *own.add_steps()->mutable_erase_entry();
  erase.set_directory(request.from().directory());
  erase.set_name(request.from().name());
  erase.set_id(entry.id());
  record::Part& there = out.parts[context.map.group_of_directory(request.to().directory())];
  *there.add_ways() = way_of(request.to());
  record::AddEntry& add = *there.add_steps()->mutable_add_entry();
  add.set_directory(request.to().directory());
  add.set_name(request.to().name());
  *add.mutable_entry() = entry;
  out.reply = pb::RenameReply().SerializeAsString();
  return out;
}

Task<Result<std::string>> attempt(Context& context, const pb::RenameRequest& request, bool strict,
                                  Instant deadline) {
  auto looked = co_await look(context, request.from());
  CO_TRY(seen, std::move(looked));
  if (!seen.entry || (request.moves() != 0 && seen.entry->id() != request.moves())) {
    if (!strict) {
      co_return Error(kRecheck);
    }
    const auto kept = co_await kept_answer(context, request.id());
    if (kept) {
      co_return answer_of(*kept);
    }
    co_return Error(Code::kStale,
                    fmt::format("{} is not there any more", describe(request.from())));
  }
  if (seen.is_directory()) {
    co_return Error(Code::kInvalidArgument, "directories are moved by the root group");
  }
  if (request.from().directory() == request.to().directory() &&
      request.from().name() == request.to().name()) {
    // The same place by two paths, of which one may be an old one.
    auto there = co_await look(context, request.to());
    CO_TRY_VOID(std::move(there));
    const Error error(Code::kAlreadyExists, fmt::format("{} exists", describe(request.to())));
    co_return co_await context.transactions.refuse(request.id(), error, deadline);
  }
  auto answer =
      co_await context.transactions.run(request.id(), plan(context, request, *seen.entry), deadline);
  if (answer.code() == Code::kAlreadyExists) {
    auto still = co_await still_there(context, request.from(), seen.entry->id(), deadline);
    CO_TRY_VOID(std::move(still));
    const Error error(Code::kAlreadyExists, fmt::format("{} exists", describe(request.to())));
    co_return co_await context.transactions.refuse(request.id(), error, deadline);
  }
  if (!answer.ok()) {
    co_return as_stale(std::move(answer).error());
  }
  co_return answer;
}

}  // namespace

Answer rename(Context& context, std::string body, Instant deadline) {
  CO_TRY(request, parse<pb::RenameRequest>(body));
  CO_TRY_VOID(check_name(request.from().name()));
  CO_TRY_VOID(check_name(request.to().name()));
  if (context.group.kind() == pb::GROUP_ROOT) {
    auto answer = co_await move_directory(context, std::move(request), deadline);
    co_return answer;
  }
  auto once = [&](bool strict) { return attempt(context, request, strict, deadline); };
  auto answer = co_await until_decided(context, once, deadline);
  co_return answer;
}

}  // namespace pangu::master::ops
