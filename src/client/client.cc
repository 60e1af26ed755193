#include "pangu/client.h"

#include <fmt/format.h>

#include "client/append_pipeline.h"
#include "client/channel_links.h"
#include "client/open_stream.h"
#include "client/reader_core.h"
#include "client/stream_refresh.h"

namespace pangu::client {

namespace {

FileOptions read_options(const pb::FileOptions& in) {
  return {.copies_max = in.copies_max(),
          .copies_min = in.copies_min(),
          .chunk_bytes = in.chunk_bytes()};
}
void write_options(const FileOptions& in, pb::FileOptions& out) {
  out.set_copies_max(in.copies_max);
  out.set_copies_min(in.copies_min);
  out.set_chunk_bytes(in.chunk_bytes);
}
Entry read_entry(const pb::Entry& in) {
  return {.name = in.name(),
          .type = in.type() == pb::ENTRY_DIRECTORY ? EntryType::directory : EntryType::file,
          .id = in.id(),
          .created_us = in.created_us(),
          .options = read_options(in.options())};
}
std::string_view state_name(pb::ServerState state) {
  switch (state) {
    case pb::SERVER_ALIVE:
      return "alive";
    case pb::SERVER_SUSPECT:
      return "suspect";
    case pb::SERVER_DEAD:
      return "dead";
    default:
      return "unknown";
  }
}
std::string_view kind_name(pb::GroupKind kind) {
  switch (kind) {
    case pb::GROUP_ROOT:
      return "root";
    case pb::GROUP_NAMESPACE:
      return "namespace";
    case pb::GROUP_STREAM:
      return "streams";
    default:
      return "unknown";
  }
}
GroupSummary read_group(const pb::GroupStatus& in) {
  return {.group = in.info().group(),
          .kind = std::string(kind_name(in.info().kind())),
          .index = in.info().index(),
          .nodes = {in.info().nodes().begin(), in.info().nodes().end()},
          .leader = in.info().leader(),
          .term = in.term(),
          .commit_index = in.commit_index(),
          .applied_index = in.applied_index(),
          .commands_applied = in.commands_applied(),
          .files = in.files(),
          .directories = in.directories(),
          .chunks = in.chunks(),
          .log_bytes = in.log_bytes(),
          .missing_copies = in.missing_copies(),
          .waiting_orders = in.waiting_orders(),
          .waiting_messages = in.waiting_messages()};
}
ServerSummary read_server(const pb::ServerInfo& in) {
  ServerSummary out{.server = {in.server()},
                    .address = in.address(),
                    .rack = in.rack(),
                    .state = std::string(state_name(in.state())),
                    .heartbeat_age_ms = in.heartbeat_age_ms()};
  for (const pb::DeviceInfo& device : in.devices()) {
    out.capacity_bytes += device.capacity_bytes();
    out.free_bytes += device.free_bytes();
    out.chunks += device.chunks();
  }
  return out;
}

Result<std::vector<env::Address>> read_masters(const ClientOptions& options) {
  std::vector<env::Address> out;
  for (const std::string& text : options.masters) {
    auto address = env::parse_address(text);
    if (!address.ok()) {
      return std::move(address).error().within("master address '" + text + "'");
    }
    out.push_back(*address);
  }
  if (out.empty()) {
    return Error(Code::kInvalidArgument,
                 "no master given: the client needs at least one address, host:port");
  }
  return out;
}

}  // namespace

Client::Client(std::shared_ptr<ClientCore> core) : core_(std::move(core)) {}
Client::~Client() = default;

const ClientCounters& Client::counters() const {
  return core_->counters;
}
Task<void> Client::stop() {
  return core_->stop();
}

Result<std::unique_ptr<Client>> Client::with_links(Reactor& reactor, ClientOptions options,
                                                   std::unique_ptr<Links> links) {
  TRY(masters, read_masters(options));
  return std::unique_ptr<Client>(new Client(
      std::make_shared<ClientCore>(reactor, options, std::move(links), std::move(masters))));
}

ClientCore& core_of(Client& client) {
  return *client.core_;
}

Task<Result<std::unique_ptr<Client>>> Client::open(Reactor& reactor, ClientOptions options) {
  auto links = std::make_unique<ChannelLinks>(reactor, options);
  CO_TRY(client, with_links(reactor, options, std::move(links)));
  // Finds a master that answers. Where the servers are is learned while the caller goes on.
  ClientCore& core = *client->core_;
  auto ready = co_await core.meta.ensure_map(core.op_deadline());
  if (!ready.ok()) {
    co_await client->stop();
    co_return std::move(ready).error();
  }
  core.refresh_servers_soon();
  co_return std::move(client);
}

Task<Result<Entry>> Client::create(std::string path, CreateOptions options) {
  const std::shared_ptr<ClientCore> core = core_;
  pb::FileOptions file;
  write_options(options.file, file);
  auto entry = co_await core->names.create_file(std::move(path), std::move(file),
                                                options.exclusive, core->op_deadline());
  if (!entry.ok()) {
    co_return std::move(entry).error();
  }
  co_return read_entry(*entry);
}

Task<Result<Entry>> Client::lookup_file(std::string path) {
  const std::shared_ptr<ClientCore> core = core_;
  auto entry = co_await core->names.lookup(path, core->op_deadline());
  if (!entry.ok()) {
    co_return std::move(entry).error();
  }
  if (entry->type() == pb::ENTRY_DIRECTORY) {
    co_return Error(Code::kIsDirectory, fmt::format("'{}' is a directory", path));
  }
  co_return read_entry(*entry);
}

Task<Result<std::unique_ptr<Writer>>> Client::open_for_append(std::string path,
                                                              OpenOptions options) {
  const std::shared_ptr<ClientCore> core = core_;
  Result<Entry> entry = Error(Code::kNotFound);
  if (options.create) {
    const CreateOptions create_options{.file = options.file, .exclusive = false};
    entry = co_await create(path, create_options);
  } else {
    entry = co_await lookup_file(path);
  }
  if (!entry.ok()) {
    co_return std::move(entry).error();
  }
  const FileId file{entry->id};
  pb::FileOptions file_options;
  write_options(entry->options, file_options);
  const TakeoverGoal goal{.fresh_chunks = 1 + core->options.spare_chunks};
  auto opened = co_await open_stream(*core, path, file, std::move(file_options), goal);
  if (!opened.ok()) {
    co_return std::move(opened).error();
  }
  if (core->stopping) {
    co_return Error(Code::kClosed, path + ": the client was stopped");
  }
  co_return std::make_unique<Writer>(
      core, AppendPipeline::make(*core, path, file, opened->epoch, opened->end,
                                 std::move(opened->fresh)));
}

Task<Result<std::unique_ptr<Reader>>> Client::open_for_read(std::string path) {
  const std::shared_ptr<ClientCore> core = core_;
  auto entry = co_await lookup_file(path);
  if (!entry.ok()) {
    co_return std::move(entry).error();
  }
  co_return std::make_unique<Reader>(
      std::make_shared<ReaderCore>(core, std::move(path), FileId{entry->id}));
}

Task<Result<FileInfo>> Client::stat(std::string path) {
  const std::shared_ptr<ClientCore> core = core_;
  auto entry = co_await core->names.lookup(path, core->op_deadline());
  if (!entry.ok()) {
    co_return std::move(entry).error();
  }
  FileInfo out{.entry = read_entry(*entry)};
  if (out.entry.type == EntryType::directory) {
    co_return out;
  }
  const auto view = core->streams->get(FileId{out.entry.id});
  auto refreshed =
      co_await refresh_length(*core, view, view->settled_length(), 1, core->op_deadline());
  if (!refreshed.ok()) {
    co_return std::move(refreshed).error().within(path);
  }
  out.length = view->length();
  out.sealed = view->sealed();
  out.epoch = view->epoch().number;
  co_return out;
}

Task<Result<ListPage>> Client::list(std::string path, std::string after, u32 limit) {
  const std::shared_ptr<ClientCore> core = core_;
  auto reply = co_await core->names.list(std::move(path), std::move(after), limit,
                                         core->op_deadline());
  if (!reply.ok()) {
    co_return std::move(reply).error();
  }
  ListPage out{.more = reply->more()};
  for (const pb::Entry& entry : reply->entries()) {
    out.entries.push_back(read_entry(entry));
  }
  co_return out;
}

Task<Result<Entry>> Client::make_directory(std::string path, bool parents) {
  const std::shared_ptr<ClientCore> core = core_;
  auto entry =
      co_await core->names.make_directory(std::move(path), parents, core->op_deadline());
  if (!entry.ok()) {
    co_return std::move(entry).error();
  }
  co_return read_entry(*entry);
}

Task<Status> Client::rename(std::string from, std::string to) {
  const std::shared_ptr<ClientCore> core = core_;
  Status done = co_await core->names.rename(std::move(from), std::move(to), core->op_deadline());
  co_return done;
}

Task<Result<Removed>> Client::remove(std::string path, bool recursive) {
  const std::shared_ptr<ClientCore> core = core_;
  auto removed = co_await core->names.remove(std::move(path), recursive, core->op_deadline());
  co_return removed;
}

Task<Result<u64>> Client::seal(std::string path) {
  const std::shared_ptr<ClientCore> core = core_;
  auto entry = co_await lookup_file(path);
  if (!entry.ok()) {
    co_return std::move(entry).error();
  }
  pb::FileOptions file_options;
  write_options(entry->options, file_options);
  const TakeoverGoal goal{.seal = true};
  auto sealed =
      co_await open_stream(*core, path, FileId{entry->id}, std::move(file_options), goal);
  if (!sealed.ok()) {
    co_return std::move(sealed).error();
  }
  co_return sealed->end;
}

Task<Result<ClusterSummary>> Client::cluster_info() {
  const std::shared_ptr<ClientCore> core = core_;
  // The root has to ask all the others.
  const Target target{.group = wire::kRootGroup, .patience = core->options.master_timeout};
  auto reply = co_await core->meta.ask<pb::ClusterInfoReply>(
      target, wire::Method::cluster_info, pb::ClusterInfoRequest{}, core->op_deadline());
  if (!reply.ok()) {
    co_return std::move(reply).error();
  }
  core->servers.learn_all(reply->servers());
  ClusterSummary out{.cluster = wire::get(reply->cluster()),
                     .version = reply->version(),
                     .files = reply->files(),
                     .directories = reply->directories(),
                     .chunks = reply->chunks()};
  for (const pb::ServerInfo& server : reply->servers()) {
    out.servers.push_back(read_server(server));
  }
  for (const pb::MasterNode& master : reply->masters()) {
    out.masters.push_back({.node = master.node(), .address = master.address()});
  }
  for (const pb::GroupStatus& group : reply->groups()) {
    out.groups.push_back(read_group(group));
  }
  co_return out;
}

}  // namespace pangu::client
