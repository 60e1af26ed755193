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

Task<Result<std::unique_ptr<Client>>> Client::open(Reactor& reactor, ClientOptions options) {
  auto links = std::make_unique<ChannelLinks>(reactor, options);
  CO_TRY(client, with_links(reactor, options, std::move(links)));
  // Finds a master that answers, and learns where the servers are.
  ClientCore& core = *client->core_;
  auto reply = co_await core.meta.ask<pb::ClusterInfoReply>(
      wire::Method::cluster_info, pb::ClusterInfoRequest{}, core.op_deadline());
  if (!reply.ok()) {
    co_await client->stop();
    co_return std::move(reply).error();
  }
  core.servers.learn_all(reply->servers());
  co_return std::move(client);
}

Task<Result<Entry>> Client::create(std::string path, CreateOptions options) {
  pb::CreateFileRequest request;
  request.set_path(path);
  request.set_exclusive(options.exclusive);
  write_options(options.file, *request.mutable_options());
  auto reply = co_await core_->meta.change<pb::CreateFileReply>(
      wire::Method::create_file, std::move(request), core_->op_deadline());
  if (!reply.ok()) {
    co_return std::move(reply).error().within(path);
  }
  co_return read_entry(reply->entry());
}

Task<Result<Entry>> Client::lookup_file(std::string path) {
  pb::LookupRequest request;
  request.set_path(path);
  auto reply = co_await core_->meta.ask<pb::LookupReply>(wire::Method::lookup, std::move(request),
                                                         core_->op_deadline());
  if (!reply.ok()) {
    co_return std::move(reply).error().within(path);
  }
  if (reply->entry().type() == pb::ENTRY_DIRECTORY) {
    co_return Error(Code::kIsDirectory, path);
  }
  co_return read_entry(reply->entry());
}

Task<Result<std::unique_ptr<Writer>>> Client::open_for_append(std::string path,
                                                              OpenOptions options) {
  const std::shared_ptr<ClientCore> core = core_;
  Result<Entry> entry = Error(Code::kNotFound);
  if (options.create) {
    entry = co_await create(path, {.file = options.file, .exclusive = false});
  } else {
    entry = co_await lookup_file(path);
  }
  if (!entry.ok()) {
    co_return std::move(entry).error();
  }
  const FileId file{entry->id};
  auto opened =
      co_await open_stream(*core, path, file, {.fresh_chunks = 1 + core->options.spare_chunks});
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
  pb::LookupRequest request;
  request.set_path(path);
  auto reply = co_await core->meta.ask<pb::LookupReply>(wire::Method::lookup, std::move(request),
                                                        core->op_deadline());
  if (!reply.ok()) {
    co_return std::move(reply).error().within(path);
  }
  FileInfo out{.entry = read_entry(reply->entry())};
  if (out.entry.type == EntryType::directory) {
    co_return out;
  }
  const auto view = core->streams->get(FileId{out.entry.id});
  auto refreshed = co_await refresh_length(*core, view, core->op_deadline());
  if (!refreshed.ok()) {
    co_return std::move(refreshed).error().within(path);
  }
  out.length = view->length();
  out.sealed = view->sealed();
  out.epoch = view->epoch().number;
  co_return out;
}

Task<Result<ListPage>> Client::list(std::string path, std::string after, u32 limit) {
  pb::ListRequest request;
  request.set_path(path);
  request.set_after(after);
  request.set_limit(limit);
  auto reply = co_await core_->meta.ask<pb::ListReply>(wire::Method::list, std::move(request),
                                                       core_->op_deadline());
  if (!reply.ok()) {
    co_return std::move(reply).error().within(path);
  }
  ListPage out{.more = reply->more()};
  for (const pb::Entry& entry : reply->entries()) {
    out.entries.push_back(read_entry(entry));
  }
  co_return out;
}

Task<Result<Entry>> Client::make_directory(std::string path, bool parents) {
  pb::MakeDirectoryRequest request;
  request.set_path(path);
  request.set_parents(parents);
  auto reply = co_await core_->meta.change<pb::MakeDirectoryReply>(
      wire::Method::make_directory, std::move(request), core_->op_deadline());
  if (!reply.ok()) {
    co_return std::move(reply).error().within(path);
  }
  co_return read_entry(reply->entry());
}

Task<Status> Client::rename(std::string from, std::string to) {
  pb::RenameRequest request;
  request.set_from(from);
  request.set_to(to);
  auto reply = co_await core_->meta.change<pb::RenameReply>(
      wire::Method::rename, std::move(request), core_->op_deadline());
  if (!reply.ok()) {
    co_return std::move(reply).error().within(fmt::format("renaming {} to {}", from, to));
  }
  co_return ok_status();
}

Task<Result<RemoveCount>> Client::remove(std::string path, bool recursive) {
  pb::RemoveRequest request;
  request.set_path(path);
  request.set_recursive(recursive);
  auto reply = co_await core_->meta.change<pb::RemoveReply>(
      wire::Method::remove, std::move(request), core_->op_deadline());
  if (!reply.ok()) {
    co_return std::move(reply).error().within(path);
  }
  co_return RemoveCount{.files = reply->files(), .directories = reply->directories()};
}

Task<Result<u64>> Client::seal(std::string path) {
  const std::shared_ptr<ClientCore> core = core_;
  auto entry = co_await lookup_file(path);
  if (!entry.ok()) {
    co_return std::move(entry).error();
  }
  auto sealed = co_await open_stream(*core, path, FileId{entry->id}, {.seal = true});
  if (!sealed.ok()) {
    co_return std::move(sealed).error();
  }
  co_return sealed->end;
}

Task<Result<ClusterSummary>> Client::cluster_info() {
  const std::shared_ptr<ClientCore> core = core_;
  auto reply = co_await core->meta.ask<pb::ClusterInfoReply>(
      wire::Method::cluster_info, pb::ClusterInfoRequest{}, core->op_deadline());
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
  co_return out;
}

}  // namespace pangu::client
