#include <fmt/format.h>

#include "app/admin.h"
#include "app/client_session.h"
#include "app/output.h"
#include "app/report.h"
#include "base/units.h"
#include "env/linux/log_thread.h"
#include "wire/proto.h"

namespace pangu::app {

namespace {
std::string_view state_text(pb::ChunkState state) {
  switch (state) {
    case pb::CHUNK_OPEN:
      return "open";
    case pb::CHUNK_SEALED:
      return "sealed";
    case pb::CHUNK_DROPPED:
      return "dropped";
    default:
      return "unknown";
  }
}

std::string_view state_text(pb::StreamState state) {
  switch (state) {
    case pb::STREAM_NEW:
      return "never written";
    case pb::STREAM_OPEN:
      return "open for append";
    case pb::STREAM_RECOVERING:
      return "being recovered";
    case pb::STREAM_SEALED:
      return "sealed";
    default:
      return "unknown";
  }
}

const pb::ServerInfo* server_of(const pb::StreamInfo& stream, u32 id) {
  for (const pb::ServerInfo& server : stream.servers()) {
    if (server.server() == id) {
      return &server;
    }
  }
  return nullptr;
}

std::string replica_text(const pb::StreamInfo& stream, const pb::Replica& replica) {
  const pb::ServerInfo* server = server_of(stream, replica.server());
  std::string out = server == nullptr ? fmt::format("server {}", replica.server())
                                      : server->address();
  if (server != nullptr && server->state() != pb::SERVER_ALIVE) {
    out += server->state() == pb::SERVER_DEAD ? " (dead)" : " (silent)";
  }
  return replica.suspect() ? out + " (short)" : out;
}

std::string stat_text(const std::string& path, const client::FileInfo& info,
                      const pb::StreamInfo& stream) {
  const client::FileOptions& options = info.entry.options;
  std::string out = fmt::format(
      "{}: file {}\n  {} ({} bytes), {}, opened for append {} times\n  created {}\n"
      "  {} copies, {} durable before an append counts, chunks of {}\n",
      path, to_string(FileId{info.entry.id}), format_size(info.length), info.length,
      state_text(stream.state()), info.epoch, env::format_wall_clock(info.entry.created_us),
      options.copies_max, options.copies_min, format_size(options.chunk_bytes));
  Table table({">CHUNK", ">FROM", ">BYTES", "STATE", "REPLICAS"});
  for (const pb::ChunkInfo& chunk : stream.chunks()) {
    const bool settled = chunk.state() != pb::CHUNK_OPEN;
    std::string replicas;
    for (const pb::Replica& replica : chunk.replicas()) {
      replicas += (replicas.empty() ? "" : ", ") + replica_text(stream, replica);
    }
    table.add({fmt::format("{}", chunk.chunk().sequence()),
               settled ? fmt::format("{}", chunk.base()) : "-",
               settled ? fmt::format("{}", chunk.length()) : "-",
               std::string(state_text(chunk.state())), replicas});
  }
  return out + (stream.chunks_size() > 0 ? table.text() : "");
}

void add_chunk(JsonWriter& json, const pb::StreamInfo& stream, const pb::ChunkInfo& chunk) {
  json.begin_object().field("chunk", to_string(wire::get(chunk.chunk())));
  json.field("sequence", chunk.chunk().sequence()).field("state", state_text(chunk.state()));
  json.field("base", u64{chunk.base()}).field("length", chunk.length());
  json.field("version", chunk.version()).field("owner_epoch", chunk.owner_epoch());
  json.key("replicas").begin_array();
  for (const pb::Replica& replica : chunk.replicas()) {
    const pb::ServerInfo* server = server_of(stream, replica.server());
    json.begin_object().field("server", replica.server());
    json.field("device", to_string(wire::get(replica.device())));
    json.field("address", server == nullptr ? std::string() : server->address());
    json.field("suspect", replica.suspect()).end_object();
  }
  json.end_array().end_object();
}

std::string stat_json(const std::string& path, const client::FileInfo& info,
                      const pb::StreamInfo& stream) {
  JsonWriter json;
  json.begin_object().field("path", path).field("type", "file").field("id", info.entry.id);
  json.field("length", info.length).field("sealed", info.sealed).field("epoch", info.epoch);
  json.field("state", state_text(stream.state())).field("created_us", info.entry.created_us);
  json.field("copies_max", info.entry.options.copies_max);
  json.field("copies_min", info.entry.options.copies_min);
  json.field("chunk_bytes", info.entry.options.chunk_bytes);
  json.key("chunks").begin_array();
  for (const pb::ChunkInfo& chunk : stream.chunks()) {
    add_chunk(json, stream, chunk);
  }
  return json.end_array().end_object().text();
}

std::string directory_text(const std::string& path, const client::FileInfo& info) {
  return fmt::format("{}: directory {}\n  created {}\n", path, to_string(FileId{info.entry.id}),
                     env::format_wall_clock(info.entry.created_us));
}

std::string directory_json(const std::string& path, const client::FileInfo& info) {
  JsonWriter json;
  json.begin_object().field("path", path).field("type", "directory").field("id", info.entry.id);
  return json.field("created_us", info.entry.created_us).end_object().text();
}

Task<Status> stat_one(Session session, Admin& admin, std::string path) {
  auto info = co_await session.client.stat(path);
  if (!info.ok()) {
    co_return std::move(info).error();
  }
  const bool json = session.invocation.json();
  if (info->entry.type == client::EntryType::directory) {
    co_return print(json ? directory_json(path, *info) : directory_text(path, *info));
  }
  auto stream = co_await admin.stream(info->entry.id);
  if (!stream.ok()) {
    co_return std::move(stream).error();
  }
  co_return print(json ? stat_json(path, *info, *stream) : stat_text(path, *info, *stream));
}

Task<Status> stat(Session session) {
  CO_TRY(admin, Admin::create(session.world, session.invocation.config));
  const std::vector<std::string>& paths = session.args().arguments();
  Status status;
  for (size_t i = 0; i < paths.size() && status.ok(); ++i) {
    status = co_await stat_one(session, *admin, paths[i]);
  }
  co_await admin->stop();
  co_return status;
}

Status run_stat(Invocation& invocation) { return run_with_client(invocation, stat); }
}  // namespace

extern const Command kStat;
const Command kStat = {
    .name = "stat",
    .group = CommandGroup::files,
    .summary = "What a file consists of and where its replicas are",
    .arguments = "PATH...",
    .arguments_min = 1,
    .arguments_max = 10000,
    .examples = "pangu stat /hello\npangu stat /hello --json",
    .run = run_stat,
};

}  // namespace pangu::app
