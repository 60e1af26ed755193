#include <algorithm>
#include <fmt/core.h>

#include "base/reached.h"
#include "master/ops/names.h"

// Changes of the tree's shape: the root group coordinates them, one at a time, and every namespace
// group takes part (docs/design/0006-partitions.md).
namespace pangu::master::ops {
namespace {

// What stands at a place of another group, if the way to it is good.
Task<Result<std::optional<pb::Entry>>> look_there(Context& context, pb::Place place,
                                                  Instant deadline) {
  pb::LookupRequest question;
  const u64 group = context.map.group_of_directory(place.directory());
  *question.add_places() = std::move(place);
  auto answer = co_await context.calls.ask<pb::LookupReply>(group, wire::Method::lookup,
                                                            std::move(question), deadline);
  CO_TRY(reply, std::move(answer));
  if (reply.answers_size() != 1 || reply.answers(0).result() == pb::LOOKUP_NO_DIRECTORY) {
    co_return Error(Code::kStale, "a directory of the path is not there any more");
  }
  if (reply.answers(0).result() != pb::LOOKUP_FOUND) {
    co_return std::optional<pb::Entry>();
  }
  co_return std::optional<pb::Entry>(reply.answers(0).entry());
}

// A part in every namespace group, and the root's own.
Transactions::Plan begin_plan(Context& context, u64 directory) {
  Transactions::Plan out;
  const u64 epoch = context.group.meta().tree_epoch() + 1;
  std::vector<u64> groups = context.map.namespace_groups();
  groups.push_back(context.group.id().value());
  for (const u64 group : groups) {
    out.parts[group].set_moved_directory(directory);
    out.parts[group].set_tree_epoch(epoch);
  }
  return out;
}

void erase_entry(Context& context, Transactions::Plan& plan, const pb::Place& place, u64 id) {
  record::Part& part = plan.parts[context.map.group_of_directory(place.directory())];
  *part.add_ways() = way_of(place);
  record::EraseEntry& erase = *part.add_steps()->mutable_erase_entry();
  erase.set_directory(place.directory());
  erase.set_name(place.name());
  erase.set_id(id);
}

// That the chain is the true one is what keeps the tree without cycles: each directory of it is
// asked, where it is, who its parent is.
void check_chain(Context& context, Transactions::Plan& plan, const pb::Place& place) {
  for (int i = 1; i < place.chain_size(); ++i) {
    record::Part& part = plan.parts[context.map.group_of_directory(place.chain(i))];
    record::StandsIn& stands = *part.add_steps()->mutable_stands_in();
    stands.set_id(place.chain(i));
    stands.set_parent(place.chain(i - 1));
  }
}

Transactions::Plan plan_move(Context& context, const pb::RenameRequest& request,
                             const pb::Entry& entry) {
  Transactions::Plan plan = begin_plan(context, entry.id());
  check_chain(context, plan, request.to());
  erase_entry(context, plan, request.from(), entry.id());
  record::Part& there = plan.parts[context.map.group_of_directory(request.to().directory())];
  *there.add_ways() = way_of(request.to());
  record::AddEntry& add = *there.add_steps()->mutable_add_entry();
  add.set_directory(request.to().directory());
  add.set_name(request.to().name());
  add.mutable_entry()->set_type(pb::ENTRY_DIRECTORY);
  add.mutable_entry()->set_id(entry.id());
  add.mutable_entry()->set_created_us(entry.created_us());
  record::MoveDirectory& move =
      *plan.parts[context.map.group_of_directory(entry.id())].add_steps()->mutable_move_directory();
  move.set_id(entry.id());
  move.set_parent(request.to().directory());
  move.set_name(request.to().name());
  plan.reply = pb::RenameReply().SerializeAsString();
  return plan;
}

Task<Result<std::string>> attempt_move(Context& context, const pb::RenameRequest& request,
                                       Instant deadline) {
  auto looked = co_await look_there(context, request.from(), deadline);
  CO_TRY(from, std::move(looked));
  auto looked_to = co_await look_there(context, request.to(), deadline);
  CO_TRY(to, std::move(looked_to));
  if (!from || from->id() != request.moves() || from->type() != pb::ENTRY_DIRECTORY) {
    co_return Error(Code::kStale,
                    fmt::format("{} is not there any more", describe(request.from())));
  }
  const auto& chain = request.to().chain();
  if (std::find(chain.begin(), chain.end(), from->id()) != chain.end()) {
    const Error error(Code::kInvalidArgument, "a directory cannot be moved into itself");
    co_return co_await context.transactions.refuse(request.id(), error, deadline);
  }
  if (to) {
    // Both were there at one moment only if the source still is.
    auto again = co_await look_there(context, request.from(), deadline);
    CO_TRY(still, std::move(again));
    if (!still || still->id() != from->id()) {
      REACHED("master: a directory to be moved went while its target was looked at");
      co_return Error(Code::kBusy, fmt::format("{} has changed meanwhile", describe(request.from())));
    }
    const Error error(Code::kAlreadyExists, fmt::format("{} exists", describe(request.to())));
    co_return co_await context.transactions.refuse(request.id(), error, deadline);
  }
  auto answer =
      co_await context.transactions.run(request.id(), plan_move(context, request, *from), deadline);
  co_return answer;
}

Task<Result<std::string>> attempt_removal(Context& context, const pb::RemoveRequest& request,
                                          Instant deadline) {
  auto looked = co_await look_there(context, request.place(), deadline);
  CO_TRY(found, std::move(looked));
  if (!found || found->id() != request.removes() || found->type() != pb::ENTRY_DIRECTORY) {
    co_return Error(Code::kStale,
                    fmt::format("{} is not there any more", describe(request.place())));
  }
  Transactions::Plan plan = begin_plan(context, found->id());
  erase_entry(context, plan, request.place(), found->id());
  plan.parts[context.map.group_of_directory(found->id())]
      .add_steps()
      ->mutable_bury_directory()
      ->set_id(found->id());
  plan.reply = pb::RemoveReply().SerializeAsString();
  auto answer = co_await context.transactions.run(request.id(), std::move(plan), deadline);
  co_return answer;
}

// One at a time; what an earlier attempt was answered comes first.
template <class Request, class Attempt>
Task<Result<std::string>> one_at_a_time(Context& context, const Request& request, Attempt attempt,
                                        Instant deadline) {
  const bool mine = co_await context.transactions.moves().take(1, deadline);
  if (!mine) {
    co_return Error(Code::kBusy, "other directories are being moved");
  }
  Result<std::string> answer = Error(Code::kBusy);
  for (;;) {
    const auto kept = co_await kept_answer(context, request.id());
    if (kept) {
      REACHED("master: a move that was asked for again had happened");
      answer = answer_of(*kept);
      break;
    }
    answer = co_await attempt(context, request, deadline);
    // AlreadyExists, and a number of the tree that is taken: the next look tells.
    const bool again = answer.code() == Code::kBusy || answer.code() == Code::kUnavailable;
    if (!again) {
      break;
    }
    const bool time_left = co_await wait_for_locks(context, deadline);
    if (!time_left || !context.group.check_leader().ok()) {
      break;
    }
  }
  context.transactions.moves().give(1);
  if (answer.code() == Code::kUnavailable) {
    co_return Error(Code::kBusy, std::string(answer.error().context()));
  }
  co_return answer;
}

}  // namespace

Answer move_directory(Context& context, pb::RenameRequest request, Instant deadline) {
  auto answer = co_await one_at_a_time(context, request, attempt_move, deadline);
  if (!answer.ok()) {
    co_return as_stale(std::move(answer).error());
  }
  co_return answer;
}

Answer remove_tree(Context& context, pb::RemoveRequest request, Instant deadline) {
  auto answer = co_await one_at_a_time(context, request, attempt_removal, deadline);
  if (!answer.ok()) {
    co_return as_stale(std::move(answer).error());
  }
  co_return answer;
}

}  // namespace pangu::master::ops
