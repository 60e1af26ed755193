#include <fmt/core.h>

#include "base/reached.h"
#include "master/ops/names.h"
#include "master/state/namespace.h"

namespace pangu::master::ops {
namespace {

// Versions tried in order; then they come from the clock, so that a name that is made and moved
// away all the time does not search longer and longer.
constexpr u64 kTriedInOrder = 8;
constexpr u64 kTriedInAll = 24;

struct Made {
  u64 id = 0;
  u64 group = 0;
};

Made choose_id(Context& context, const pb::Place& place, u64 version) {
  if (const pb::Subtree* root = context.map.subtree_at(place.directory(), place.name())) {
    return {root->directory(), context.map.group_of_directory(root->directory())};
  }
  const u32 subtree = wire::subtree_of(place.directory());
  const u64 id = wire::directory_id(subtree, place.directory(), place.name(), version);
  return {id, context.map.group_of_directory(id)};
}

Transactions::Plan plan(Context& context, const pb::Place& place, const Made& made) {
  record::Entry entry;
  entry.set_type(pb::ENTRY_DIRECTORY);
  entry.set_id(made.id);
  entry.set_created_us(context.group.reactor().env().wall_clock_us());
  Transactions::Plan out;
  record::Part& own = out.parts[context.group.id().value()];
  *own.add_ways() = way_of(place);
  record::AddEntry& add = *own.add_steps()->mutable_add_entry();
  add.set_directory(place.directory());
  add.set_name(place.name());
  *add.mutable_entry() = entry;
  record::AddDirectory& directory = *out.parts[made.group].add_steps()->mutable_add_directory();
  directory.set_id(made.id);
  directory.set_parent(place.directory());
  directory.set_name(place.name());
  pb::MakeDirectoryReply reply;
  reply.mutable_entry()->set_name(place.name());
  reply.mutable_entry()->set_type(pb::ENTRY_DIRECTORY);
  reply.mutable_entry()->set_id(made.id);
  reply.mutable_entry()->set_created_us(entry.created_us());
  out.reply = reply.SerializeAsString();
  return out;
}

Task<Result<std::string>> attempt(Context& context, const pb::MakeDirectoryRequest& request,
                                  bool strict, Instant deadline) {
  const pb::Place& place = request.place();
  auto looked = co_await look(context, place);
  CO_TRY(seen, std::move(looked));
  if (seen.entry) {
    if (!strict) {
      co_return Error(kRecheck);
    }
    const Error error(Code::kAlreadyExists,
                      fmt::format("{} is there already", describe(place)));
    co_return co_await context.transactions.refuse(request.id(), error, deadline);
  }
  for (u64 tried = 0;; ++tried) {
    const u64 version = tried < kTriedInOrder
                            ? tried
                            : static_cast<u64>(context.group.reactor().env().wall_clock_us());
    const Made made = choose_id(context, place, version);
    bool taken = false;
    if (made.group == context.group.id().value()) {
      const u64 id = made.id;
      auto query = [id](Txn& txn) -> Result<bool> { return directory_id_taken(txn, id); };
      auto found = co_await context.group.query(query);
      CO_TRY(here, std::move(found));
      taken = here;
    }
    if (!taken) {
      auto answer =
          co_await context.transactions.run(request.id(), plan(context, place, made), deadline);
      // AlreadyExists: the name, here; Conflict: the id, wherever it is.
      if (answer.code() == Code::kAlreadyExists) {
        co_return Error(strict ? Code::kBusy : kRecheck);
      }
      if (answer.code() != Code::kConflict) {
        co_return answer;
      }
    }
    REACHED("master: directory id taken, next version used");
    if (tried == kTriedInAll) {
      co_return Error(Code::kBusy, fmt::format("no id is free for {}", describe(place)));
    }
  }
}

}  // namespace

Answer make_directory(Context& context, std::string body, Instant deadline) {
  CO_TRY(request, parse<pb::MakeDirectoryRequest>(body));
  CO_TRY_VOID(check_name(request.place().name()));
  auto once = [&](bool strict) { return attempt(context, request, strict, deadline); };
  auto answer = co_await until_decided(context, once, deadline);
  co_return answer;
}

}  // namespace pangu::master::ops
