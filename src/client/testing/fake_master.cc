#include "client/testing/fake_master.h"

#include <algorithm>

namespace pangu::client::testing {

namespace {

rpc::Reply reply_of(Result<std::string> answer) {
  if (!answer.ok()) {
    return rpc::Reply(answer.error());
  }
  rpc::Reply out;
  out.body = std::move(*answer);
  return out;
}

template <class Request>
Request request_of(const std::string& body) {
  Request request;
  CHECK(request.ParseFromString(body));
  return request;
}

}  // namespace

FakeMaster::FakeMaster(Reactor& reactor, Prng& prng, Gate& gate,
                       std::vector<std::string> addresses, const FakeMasterOptions& options,
                       std::vector<Server> servers)
    : addresses_(std::move(addresses)),
      tree_(reactor, prng, gate, options.namespace_groups, options.stream_groups),
      streams_(std::move(servers)) {
  std::vector<u64> ids = {wire::kRootGroup};
  for (u32 i = 0; i < options.namespace_groups; ++i) {
    ids.push_back(wire::kFirstNamespaceGroup + i);
  }
  for (u32 i = 0; i < options.stream_groups; ++i) {
    ids.push_back(wire::kFirstStreamGroup + i);
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    Group& group = groups_[ids[i]];
    for (u64 node = 1; node <= addresses_.size(); ++node) {
      group.nodes.push_back(node);
    }
    group.leader = group.believed = 1 + i % addresses_.size();
  }
  tree_.on_remove_file = [this](u64 file) { streams_.remove(file); };
}

std::vector<u64> FakeMaster::groups() const {
  std::vector<u64> out;
  for (const auto& [id, group] : groups_) {
    out.push_back(id);
  }
  return out;
}

void FakeMaster::depose(u64 node) {
  for (auto& [id, group] : groups_) {
    if (group.leader == node) {
      const auto other = std::find_if(group.nodes.begin(), group.nodes.end(),
                                      [node](u64 each) { return each != node; });
      group.leader = group.believed = other == group.nodes.end() ? 0 : *other;
    }
  }
}

void FakeMaster::move_group(u64 id, std::vector<u64> nodes) {
  Group& group = groups_.at(id);
  group.nodes = std::move(nodes);
  group.leader = group.believed = group.nodes.front();
  ++map_version_;
}

FakeMaster::Stream* FakeMaster::stream(const std::string& path) {
  const auto entry = FakeTree::find(tree_.truth(), path);
  return entry.ok() ? &streams_.stream(entry->id()) : nullptr;
}

u64 FakeMaster::file_id(const std::string& path) {
  return FakeTree::find(tree_.truth(), path).value().id();
}

pb::PartitionMap FakeMaster::map() const {
  pb::PartitionMap out = tree_.map();
  out.set_version(out.version() + map_version_);
  for (size_t i = 0; i < addresses_.size(); ++i) {
    pb::MasterNode& master = *out.add_masters();
    master.set_node(i + 1);
    master.set_address(addresses_[i]);
  }
  for (const auto& [id, group] : groups_) {
    pb::GroupInfo& info = *out.add_groups();
    info.set_group(id);
    info.mutable_nodes()->Add(group.nodes.begin(), group.nodes.end());
    info.set_leader(group.believed);
  }
  return out;
}

FakeMaster::Answer FakeMaster::cluster_info() {
  pb::ClusterInfoReply reply;
  for (const Server& server : servers()) {
    *reply.add_servers() = streams_.info_of(server);
  }
  reply.set_files(tree_.files());
  reply.set_version("fake");
  const pb::PartitionMap known = map();
  *reply.mutable_masters() = known.masters();
  for (const pb::GroupInfo& info : known.groups()) {
    pb::GroupStatus& status = *reply.add_groups();
    *status.mutable_info() = info;
    status.set_term(7);
  }
  return reply.SerializeAsString();
}

FakeMaster::Answer FakeMaster::server_table() {
  pb::ServerTableReply reply;
  for (const Server& server : servers()) {
    *reply.add_servers() = streams_.info_of(server);
  }
  reply.set_settled(true);
  return reply.SerializeAsString();
}

FakeMaster::Session& FakeMaster::session_of(u64 group, const pb::RequestId& id) {
  return groups_.at(group).sessions[{id.client().high(), id.client().low()}];
}

std::optional<rpc::Reply> FakeMaster::kept(u64 group, const pb::RequestId& id) {
  CHECK(id.sequence() > 0 && id.first_unanswered() <= id.sequence());
  Session& session = session_of(group, id);
  const auto known = session.answers.find(id.sequence());
  if (known != session.answers.end()) {
    return known->second;
  }
  if (id.sequence() < session.first_unanswered) {
    return rpc::Reply(Error(Code::kInvalidArgument, "this request was answered and forgotten"));
  }
  return std::nullopt;
}

void FakeMaster::keep(u64 group, const pb::RequestId& id, const rpc::Reply& reply) {
  Session& session = session_of(group, id);
  if (retry_class(reply.code) != Retry::same && reply.code != Code::kStale) {
    session.answers[id.sequence()] = reply;
  }
  session.first_unanswered = std::max(session.first_unanswered, id.first_unanswered());
  session.answers.erase(session.answers.begin(),
                        session.answers.lower_bound(session.first_unanswered));
}

template <class Request>
Task<rpc::Reply> FakeMaster::ask(u64 group, std::string body, Instant deadline,
                                 Task<Answer> (FakeTree::*apply)(u64, Request, Instant)) {
  auto answer = co_await (tree_.*apply)(group, request_of<Request>(body), deadline);
  co_return reply_of(std::move(answer));
}

template <class Request>
Task<rpc::Reply> FakeMaster::change(u64 group, std::string body, Instant deadline,
                                    Task<Answer> (FakeTree::*apply)(u64, Request, Instant)) {
  const Request request = request_of<Request>(body);
  const u64 sequence = request.id().sequence();
  while (session_of(group, request.id()).running.contains(sequence)) {
    const bool woken = co_await ended_.wait(deadline);
    if (!woken) {
      co_return rpc::Reply(Error(Code::kBusy, "another attempt is under way"));
    }
  }
  if (auto known = kept(group, request.id())) {
    co_return std::move(*known);
  }
  session_of(group, request.id()).running.insert(sequence);
  auto answer = co_await (tree_.*apply)(group, request, deadline);
  session_of(group, request.id()).running.erase(sequence);
  ended_.wake_all();
  rpc::Reply out = reply_of(std::move(answer));
  keep(group, request.id(), out);
  co_return out;
}

template <class Request>
rpc::Reply FakeMaster::ask_stream(const std::string& body,
                                  Answer (FakeStreams::*apply)(const Request&)) {
  return reply_of((streams_.*apply)(request_of<Request>(body)));
}

template <class Request>
rpc::Reply FakeMaster::change_stream(u64 group, const std::string& body,
                                     Answer (FakeStreams::*apply)(const Request&)) {
  const Request request = request_of<Request>(body);
  if (wire::stream_group_of({request.file()}) != group) {
    return rpc::Reply(Error(Code::kInvalidArgument, "the file is another group's"));
  }
  if (auto known = kept(group, request.id())) {
    return *known;
  }
  rpc::Reply out = reply_of((streams_.*apply)(request));
  keep(group, request.id(), out);
  return out;
}

Task<rpc::Reply> FakeMaster::handle(u64 node, wire::Method method, std::string body,
                                    Instant deadline) {
  ++calls;
  ++calls_by_method[method];
  if (method == wire::Method::get_partition_map) {
    pb::GetPartitionMapReply reply;
    *reply.mutable_map() = map();
    co_return reply_of(reply.SerializeAsString());
  }
  // Every request has its group in field 15.
  const u64 id = request_of<pb::GroupStatusRequest>(body).group();
  const auto found = groups_.find(id);
  if (found == groups_.end() ||
      std::count(found->second.nodes.begin(), found->second.nodes.end(), node) == 0) {
    co_return rpc::Reply(Error(Code::kStale, "no member of that group is here"));
  }
  const Group& group = found->second;
  if (group.leader != node) {
    const u64 known = group.believed == node ? 0 : group.believed;
    co_return rpc::Reply(Error(Code::kNotLeader, known == 0 ? "" : addresses_[known - 1]));
  }
  co_return co_await dispatch(id, method, std::move(body), deadline);
}

Task<rpc::Reply> FakeMaster::dispatch(u64 group, wire::Method method, std::string body,
                                      Instant deadline) {
  switch (method) {
    case wire::Method::lookup:
      return ask(group, std::move(body), deadline, &FakeTree::lookup);
    case wire::Method::list:
      return ask(group, std::move(body), deadline, &FakeTree::list);
    case wire::Method::create_file:
      return change(group, std::move(body), deadline, &FakeTree::create);
    case wire::Method::make_directory:
      return change(group, std::move(body), deadline, &FakeTree::make_directory);
    case wire::Method::rename:
      return change(group, std::move(body), deadline, &FakeTree::rename);
    case wire::Method::remove:
      return change(group, std::move(body), deadline, &FakeTree::remove);
    default:
      return [](rpc::Reply reply) -> Task<rpc::Reply> {
        co_return reply;
      }(dispatch_stream(group, method, body));
  }
}

rpc::Reply FakeMaster::dispatch_stream(u64 group, wire::Method method, const std::string& body) {
  switch (method) {
    case wire::Method::open_for_append:
      return change_stream(group, body, &FakeStreams::open);
    case wire::Method::allocate_chunks:
      return change_stream(group, body, &FakeStreams::allocate);
    case wire::Method::release_chunk:
      return change_stream(group, body, &FakeStreams::release);
    case wire::Method::report_chunk:
      return change_stream(group, body, &FakeStreams::report);
    case wire::Method::publish:
      return change_stream(group, body, &FakeStreams::publish);
    case wire::Method::seal_file:
      return change_stream(group, body, &FakeStreams::seal);
    case wire::Method::get_stream:
      return ask_stream(body, &FakeStreams::get_stream);
    case wire::Method::get_streams:
      return ask_stream(body, &FakeStreams::get_streams);
    case wire::Method::cluster_info:
      return reply_of(cluster_info());
    case wire::Method::server_table:
      return reply_of(server_table());
    default:
      return rpc::Reply(Error(Code::kUnknownMethod));
  }
}

}  // namespace pangu::client::testing
