#include "master/state/state_machine.h"

#include <fmt/core.h>

#include "master/state/directory.h"
#include "master/state/reclaim.h"
#include "master/state/server_registry.h"
#include "master/state/session.h"
#include "master/state/stream.h"
#include "wire/control.pb.h"

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
  if constexpr (std::is_same_v<Reply, Removal>) {
    outcome.set_reply(result->reply.SerializeAsString());
    outcome.set_purge(result->purge);
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

// A client's request: exactly once. `handle` is called as handle(txn, context, request).
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
  ClientSession session(work.txn, request->id());
  std::optional<Outcome> known = session.answer();
  if (known) {
    session.finish(work.context.index, work.sessions_max, nullptr);
    return std::move(*known);
  }
  Outcome outcome = apply();
  session.finish(work.context.index, work.sessions_max, &outcome);
  return outcome;
}

// One of the group's own requests.
template <class Request, class Handle>
Outcome internal(const Work& work, Handle handle) {
  const auto request = parse<Request>(work.bytes);
  return request ? outcome_of(work.txn, handle(work.txn, *request)) : unparsable();
}

Outcome apply_internal(const Work& work, u32 method) {
  switch (static_cast<InternalMethod>(method)) {
    case InternalMethod::update_server:
      return internal<record::UpdateServer>(work, update_server);
    case InternalMethod::confirm_orders:
      return internal<record::ConfirmOrders>(work, confirm_orders);
    case InternalMethod::reclaim:
      return internal<record::Reclaim>(work, [](Txn& txn, const record::Reclaim& request) {
        reclaim(txn, request.budget());
        return ok_status();
      });
  }
  return failure(Error(Code::kUnknownMethod, fmt::format("command {}", method)));
}

Outcome apply_method(const Work& work, u32 method) {
  switch (static_cast<wire::Method>(method)) {
    case wire::Method::create_file:
      return once<pb::CreateFileRequest>(work, create_file);
    case wire::Method::make_directory:
      return once<pb::MakeDirectoryRequest>(work, make_directory);
    case wire::Method::rename:
      return once<pb::RenameRequest>(work, rename);
    case wire::Method::remove:
      return once<pb::RemoveRequest>(work, remove);
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
    case wire::Method::register_server:
      return once<pb::RegisterServerRequest>(
          work, [](Txn& txn, const ApplyContext&, const pb::RegisterServerRequest& request) {
            return register_server(txn, request);
          });
    default:
      return apply_internal(work, method);
  }
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
  prepared.reclaims = meta.reclaims();
  prepared.batch = txn.batch();
  prepared.changed_server = server_of(prepared.batch);
  return prepared;
}

KvBatch StateMachine::genesis(const Uuid& cluster) {
  record::Meta meta;
  meta.set_cluster_high(cluster.high);
  meta.set_cluster_low(cluster.low);
  meta.set_next_file(1);
  meta.set_next_server(1);
  meta.set_directories(1);
  KvBatch batch;
  batch.emplace(keys::meta(), meta.SerializeAsString());
  batch.emplace(keys::directory(keys::kRootDirectory), std::string());
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
