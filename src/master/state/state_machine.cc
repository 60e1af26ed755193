#include "master/state/state_machine.h"

#include <fmt/core.h>

#include "master/state/namespace.h"
#include "master/state/orders.h"
#include "master/state/partition_map.h"
#include "master/state/reclaim.h"
#include "master/state/replicas.h"
#include "master/state/server_registry.h"
#include "master/state/session.h"
#include "master/state/stream.h"
#include "master/state/transaction.h"
#include "wire/partition.h"

namespace pangu::master {
namespace {

using record::Outcome;

Outcome failure(const Error& error) {
  Outcome outcome;
  outcome.set_code(static_cast<u32>(error.code()));
  outcome.set_text(std::string(error.context()));
  return outcome;
}

template <class Reply>
Outcome success(const Result<Reply>& result) {
  Outcome outcome;
  if constexpr (std::is_same_v<Reply, std::string>) {
    outcome.set_reply(*result);
  } else if constexpr (!std::is_void_v<Reply>) {
    outcome.set_reply(result->SerializeAsString());
  }
  return outcome;
}

// What the handlers below work on.
struct Work {
  Txn& txn;
  const ApplyContext& context;
  const std::string& bytes;
  u64 sessions_max;
};

template <class Request>
std::optional<Request> parse(const std::string& bytes) {
  std::optional<Request> request(std::in_place);
  if (!request->ParseFromString(bytes)) {
    request.reset();
  }
  return request;
}

Outcome unparsable() {
  return failure(Error(Code::kInvalidArgument,
                       "the request does not parse (or holds text that is not UTF-8)"));
}

// A failed command leaves nothing but what its session keeps.
template <class Reply>
Outcome outcome_of(Txn& txn, const Result<Reply>& result) {
  if (result.ok()) {
    return success(result);
  }
  txn.rollback();
  return failure(result.error());
}

// Whether an error is the answer, or only news for the leader, who then decides what the answer is.
enum class Errors : u8 { are_answers, are_not_kept };

// Exactly once: `apply` is called unless the request was answered before.
template <class Apply>
Outcome once_as(const Work& work, const pb::RequestId& id, Errors errors, Apply apply) {
  ClientSession session(work.txn, id);
  if (std::optional<Outcome> known = session.answer()) {
    session.finish(work.context.index, work.sessions_max, nullptr);
    known->set_already(true);
    return std::move(*known);
  }
  Outcome outcome = apply();
  const bool keep = outcome.code() == 0 || errors == Errors::are_answers;
  session.finish(work.context.index, work.sessions_max, keep ? &outcome : nullptr);
  return outcome;
}

// A client's request. `handle` is called as handle(txn, context, request).
template <class Request, class Handle>
Outcome once(const Work& work, Handle handle) {
  const auto request = parse<Request>(work.bytes);
  if (!request) {
    return unparsable();
  }
  const auto apply = [&] {
    return outcome_of(work.txn, handle(work.txn, work.context, *request));
  };
  if constexpr (std::is_same_v<Request, pb::RegisterServerRequest>) {
    // Idempotent by the server's identity; a request id is welcome, but not needed.
    if (!request->has_id()) {
      return apply();
    }
  }
  return once_as(work, request->id(), Errors::are_answers, apply);
}

// What a leader made of a client's request: a decision that carries the client's request id. Without
// a client there is no session.
template <class Decision, class Apply>
Outcome once_decided(const Work& work, const Decision& decision, Errors errors, Apply apply) {
  pb::RequestId id;
  id.mutable_client()->set_high(decision.client_high());
  id.mutable_client()->set_low(decision.client_low());
  id.set_sequence(decision.client_sequence());
  id.set_first_unanswered(decision.first_unanswered());
  if (decision.client_high() == 0 && decision.client_low() == 0) {
    return apply();
  }
  return once_as(work, id, errors, apply);
}

Outcome apply_commit(const Work& work) {
  const auto request = parse<record::Commit>(work.bytes);
  if (!request) {
    return unparsable();
  }
  const bool before = is_committed(work.txn, request->part().txn());
  Outcome outcome = once_decided(work, *request, Errors::are_not_kept, [&] {
    return outcome_of(work.txn, commit(work.txn, work.context, *request));
  });
  // The same transaction, proposed twice: it is committed.
  outcome.set_already(outcome.already() && !before);
  return outcome;
}

Outcome apply_refuse(const Work& work) {
  const auto request = parse<record::Refuse>(work.bytes);
  if (!request) {
    return unparsable();
  }
  return once_decided(work, *request, Errors::are_answers, [&] {
    const Code code = code_from_number(static_cast<u16>(request->code()));
    return code == Code::kOk ? failure(Error(Code::kInvalidArgument, "a refusal has a code"))
                             : failure(Error(code, request->text()));
  });
}

// One of the groups' own requests.
template <class Request, class Handle>
Outcome internal(const Work& work, Handle handle) {
  const auto request = parse<Request>(work.bytes);
  return request ? outcome_of(work.txn, handle(work.txn, *request)) : unparsable();
}

Outcome apply_reclaim(const Work& work) {
  return internal<record::Reclaim>(work, [](Txn& txn, const record::Reclaim& request) {
    reclaim(txn, request.budget());
    return ok_status();
  });
}

// Nothing: not a command of groups of this kind.
std::optional<Outcome> apply_to_root(const Work& work, u32 method) {
  switch (static_cast<wire::Method>(method)) {
    case wire::Method::register_server:
      return once<pb::RegisterServerRequest>(
          work, [](Txn& txn, const ApplyContext&, const pb::RegisterServerRequest& request) {
            return register_server(txn, request);
          });
    case wire::Method::set_server_state:
      return once<pb::SetServerStateRequest>(work, set_server_state);
    case wire::Method::change_map:
      return once<pb::ChangeMapRequest>(work, change_map);
    default:
      break;
  }
  switch (static_cast<InternalMethod>(method)) {
    case InternalMethod::update_server:
      return internal<record::UpdateServer>(work, update_server);
    case InternalMethod::commit:
      return apply_commit(work);
    case InternalMethod::refuse:
      return apply_refuse(work);
    case InternalMethod::finished:
      return internal<record::Finished>(work, finished);
    default:
      return std::nullopt;
  }
}

std::optional<Outcome> apply_to_namespace(const Work& work, u32 method) {
  if (static_cast<wire::Method>(method) == wire::Method::create_file) {
    return once<pb::CreateFileRequest>(work, create_file);
  }
  switch (static_cast<InternalMethod>(method)) {
    case InternalMethod::commit:
      return apply_commit(work);
    case InternalMethod::refuse:
      return apply_refuse(work);
    case InternalMethod::prepare:
      return internal<record::Prepare>(work, prepare);
    case InternalMethod::finish:
      return internal<record::Finish>(work, finish);
    case InternalMethod::finished:
      return internal<record::Finished>(work, finished);
    case InternalMethod::deliver:
      return internal<record::Deliver>(work, deliver);
    case InternalMethod::delivered:
      return internal<record::Delivered>(work, delivered);
    case InternalMethod::reclaim:
      return apply_reclaim(work);
    case InternalMethod::update_map:
      return internal<pb::PartitionMap>(work, update_map);
    default:
      return std::nullopt;
  }
}

std::optional<Outcome> apply_to_stream(const Work& work, u32 method) {
  switch (static_cast<wire::Method>(method)) {
    case wire::Method::open_for_append:
      return once<pb::OpenForAppendRequest>(work, open_for_append);
    case wire::Method::allocate_chunks:
      return once<pb::AllocateChunksRequest>(work, allocate_chunks);
    case wire::Method::release_chunk:
      return once<pb::ReleaseChunkRequest>(work, release_chunk);
    case wire::Method::report_chunk:
      return once<pb::ReportChunkRequest>(work, report_chunk);
    case wire::Method::publish:
      return once<pb::PublishRequest>(work, publish);
    case wire::Method::seal_file:
      return once<pb::SealFileRequest>(work, seal_file);
    default:
      break;
  }
  switch (static_cast<InternalMethod>(method)) {
    case InternalMethod::confirm_orders:
      return internal<record::ConfirmOrders>(work, confirm_orders);
    case InternalMethod::change_replicas:
      return internal<record::ChangeReplicas>(work, change_replicas);
    case InternalMethod::mark_replicas:
      return internal<record::MarkReplicas>(work, mark_replicas);
    case InternalMethod::erase_orphans:
      return internal<record::EraseOrphans>(work, erase_orphans);
    case InternalMethod::deliver:
      return internal<record::Deliver>(work, deliver);
    case InternalMethod::reclaim:
      return apply_reclaim(work);
    case InternalMethod::update_map:
      return internal<pb::PartitionMap>(work, update_map);
    default:
      return std::nullopt;
  }
}

Outcome apply_method(const Work& work, u32 method) {
  std::optional<Outcome> outcome;
  switch (static_cast<pb::GroupKind>(work.txn.meta().kind())) {
    case pb::GROUP_ROOT:
      outcome = apply_to_root(work, method);
      break;
    case pb::GROUP_NAMESPACE:
      outcome = apply_to_namespace(work, method);
      break;
    case pb::GROUP_STREAM:
      outcome = apply_to_stream(work, method);
      break;
    default:
      break;
  }
  if (outcome) {
    return std::move(*outcome);
  }
  return failure(Error(Code::kInvalidArgument,
                       fmt::format("command {} is none of this group's", method)));
}

// A command changes one server at most.
std::optional<record::Server> server_of(const KvBatch& batch) {
  const std::string prefix = keys::servers();
  const auto found = batch.lower_bound(prefix);
  if (found == batch.end() || !found->first.starts_with(prefix) || !found->second) {
    return std::nullopt;
  }
  record::Server server;
  CHECK(server.ParseFromString(*found->second));
  return server;
}

}  // namespace

Result<Prepared> StateMachine::prepare(u64 index, const record::Command& command,
                                       const KvReader& kv) const {
  Txn txn(kv);
  const ApplyContext context{
      .index = index, .wall_clock_us = command.wall_clock_us(), .offer = command.offer()};
  const Work work{.txn = txn,
                  .context = context,
                  .bytes = command.request(),
                  .sessions_max = options_.sessions_max};
  Prepared prepared;
  prepared.outcome = apply_method(work, command.method());
  record::Meta& meta = txn.meta();
  if (txn.failed()) {
    return txn.failure();
  }
  meta.set_applied_index(index);
  meta.set_commands_applied(meta.commands_applied() + 1);
  prepared.meta = meta;
  prepared.batch = txn.batch();
  prepared.changed_server = server_of(prepared.batch);
  return prepared;
}

KvBatch StateMachine::genesis(const Genesis& genesis) {
  record::Meta meta;
  meta.set_cluster_high(genesis.cluster.high);
  meta.set_cluster_low(genesis.cluster.low);
  meta.set_kind(static_cast<u32>(genesis.kind));
  meta.set_index(genesis.index);
  // The first file has counter 1: no file has id 0.
  meta.set_stream_groups(std::max(genesis.stream_groups, 1u));
  meta.set_next_file(meta.stream_groups());
  meta.set_next_server(1);
  meta.set_next_message(1);
  pb::PartitionMap map = genesis.map;
  if (map.subtrees().empty()) {
    pb::Subtree& all = *map.add_subtrees();
    all.set_directory(wire::kRootDirectory);
    for (u32 index = 0; index < std::max(genesis.namespace_groups, 1u); ++index) {
      all.add_partitions(index);
    }
  }
  meta.set_map_version(map.version());
  KvBatch batch = partition_map_rows(map);
  const pb::Subtree& first = map.subtrees(0);
  const u32 slot = wire::directory_slot(wire::kRootDirectory,
                                        static_cast<u32>(std::max(first.partitions_size(), 1)));
  const bool has_root_directory =
      genesis.kind == pb::GROUP_NAMESPACE && first.number() == 0 &&
      static_cast<int>(slot) < first.partitions_size() &&
      first.partitions(static_cast<int>(slot)) == genesis.index;
  if (has_root_directory) {
    meta.set_directories(1);
    batch.emplace(keys::directory(wire::kRootDirectory), record::Directory().SerializeAsString());
  }
  batch.emplace(keys::meta(), meta.SerializeAsString());
  return batch;
}

Result<record::Meta> StateMachine::meta_of(const KvReader& kv) {
  TRY(bytes, kv.get(keys::meta()));
  if (!bytes) {
    return Error(Code::kNotFound, "the metadata store is empty");
  }
  record::Meta meta;
  if (!meta.ParseFromString(*bytes)) {
    return Error(Code::kCorrupt, "metadata store: its first record does not parse");
  }
  return meta;
}

}  // namespace pangu::master
