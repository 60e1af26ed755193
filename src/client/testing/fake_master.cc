#include "client/testing/fake_master.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>

namespace pangu::client::testing {

namespace {
template <class M>
std::string bytes_of(const M& message) {
  return message.SerializeAsString();
}
}  // namespace

u64 FakeMaster::Stream::settled_length() const {
  u64 end = 0;
  for (const pb::ChunkInfo& chunk : chunks) {
    if (chunk.state() != pb::CHUNK_SEALED) {
      break;
    }
    end = chunk.base() + chunk.length();
  }
  return end;
}

template <class Request>
rpc::Reply FakeMaster::ask(const std::string& body, Applied (FakeMaster::*apply)(const Request&)) {
  Request request;
  CHECK(request.ParseFromString(body));
  auto result = (this->*apply)(request);
  if (!result.ok()) {
    return rpc::Reply(result.error());
  }
  rpc::Reply out;
  out.body = std::move(*result);
  return out;
}

template <class Request>
rpc::Reply FakeMaster::change(const std::string& body,
                              Applied (FakeMaster::*apply)(const Request&)) {
  Request request;
  CHECK(request.ParseFromString(body));
  const pb::RequestId& id = request.id();
  CHECK(id.sequence() > 0 && id.first_unanswered() <= id.sequence());
  auto& answers = answers_[{id.client().high(), id.client().low()}];
  if (const auto known = answers.find(id.sequence()); known != answers.end()) {
    return known->second;
  }
  if (!answers.empty() && id.sequence() < answers.begin()->first) {
    return rpc::Reply(Error(Code::kInvalidArgument, "this request was answered and forgotten"));
  }
  rpc::Reply out = ask(body, apply);
  if (retry_class(out.code) != Retry::same) {
    answers[id.sequence()] = out;
  }
  answers.erase(answers.begin(), answers.lower_bound(id.first_unanswered()));
  return out;
}

rpc::Reply FakeMaster::handle(wire::Method method, const std::string& body) {
  ++calls;
  switch (method) {
    case wire::Method::lookup:
      return ask(body, &FakeMaster::lookup);
    case wire::Method::create_file:
      return change(body, &FakeMaster::create);
    case wire::Method::make_directory:
      return change(body, &FakeMaster::make_directory);
    case wire::Method::list:
      return ask(body, &FakeMaster::list);
    case wire::Method::rename:
      return change(body, &FakeMaster::rename);
    case wire::Method::remove:
      return change(body, &FakeMaster::remove);
    case wire::Method::open_for_append:
      return change(body, &FakeMaster::open);
    case wire::Method::allocate_chunks:
      return change(body, &FakeMaster::allocate);
    case wire::Method::release_chunk:
      return change(body, &FakeMaster::release);
    case wire::Method::report_chunk:
      return change(body, &FakeMaster::report);
    case wire::Method::publish:
      return change(body, &FakeMaster::publish);
    case wire::Method::get_stream:
      return ask(body, &FakeMaster::get_stream);
    case wire::Method::seal_file:
      return change(body, &FakeMaster::seal);
    case wire::Method::cluster_info:
      return ask(body, &FakeMaster::cluster_info);
    default:
      return rpc::Reply(Error(Code::kUnknownMethod));
  }
}

FakeMaster::Stream* FakeMaster::stream(const std::string& path) {
  const auto file = files_.find(path);
  return file == files_.end() ? nullptr : &streams_[file->second.id()];
}

FakeMaster::Applied FakeMaster::lookup(const pb::LookupRequest& request) {
  const auto file = files_.find(request.path());
  if (file == files_.end()) {
    return Error(Code::kNotFound);
  }
  pb::LookupReply reply;
  *reply.mutable_entry() = file->second;
  return bytes_of(reply);
}

FakeMaster::Applied FakeMaster::create(const pb::CreateFileRequest& request) {
  pb::CreateFileReply reply;
  const auto known = files_.find(request.path());
  if (known != files_.end()) {
    if (request.exclusive()) {
      return Error(Code::kAlreadyExists);
    }
    *reply.mutable_entry() = known->second;
    return bytes_of(reply);
  }
  pb::Entry& entry = files_[request.path()];
  entry.set_name(request.path().substr(request.path().rfind('/') + 1));
  entry.set_type(pb::ENTRY_FILE);
  entry.set_id(next_file_++);
  *entry.mutable_options() = request.options();
  streams_[entry.id()].options = request.options();
  *reply.mutable_entry() = entry;
  reply.set_created(true);
  return bytes_of(reply);
}

FakeMaster::Applied FakeMaster::make_directory(const pb::MakeDirectoryRequest& request) {
  pb::Entry& entry = files_[request.path()];
  entry.set_name(request.path().substr(request.path().rfind('/') + 1));
  entry.set_type(pb::ENTRY_DIRECTORY);
  entry.set_id(next_file_++);
  pb::MakeDirectoryReply reply;
  *reply.mutable_entry() = entry;
  return bytes_of(reply);
}

FakeMaster::Applied FakeMaster::list(const pb::ListRequest& request) {
  pb::ListReply reply;
  const std::string prefix = request.path() == "/" ? "/" : request.path() + "/";
  for (const auto& [path, entry] : files_) {
    if (path.starts_with(prefix) && path.substr(prefix.size()) > request.after()) {
      if (request.limit() > 0 && reply.entries_size() == static_cast<int>(request.limit())) {
        reply.set_more(true);
        break;
      }
      *reply.add_entries() = entry;
    }
  }
  return bytes_of(reply);
}

FakeMaster::Applied FakeMaster::rename(const pb::RenameRequest& request) {
  auto node = files_.extract(request.from());
  if (node.empty()) {
    return Error(Code::kNotFound);
  }
  node.key() = request.to();
  files_.insert(std::move(node));
  return bytes_of(pb::RenameReply());
}

FakeMaster::Applied FakeMaster::remove(const pb::RemoveRequest& request) {
  const auto file = files_.find(request.path());
  if (file == files_.end()) {
    return Error(Code::kNotFound);
  }
  streams_.erase(file->second.id());
  files_.erase(file);
  pb::RemoveReply reply;
  reply.set_files(1);
  return bytes_of(reply);
}

Status FakeMaster::add_chunks(u64 file, u32 count, const Excluded& excluded, Chunks& out) {
  Stream& stream = streams_[file];
  const u32 n = stream.options.copies_max() == 0 ? 3 : stream.options.copies_max();
  const u32 a = stream.options.copies_min() == 0 ? n / 2 + 1 : stream.options.copies_min();
  if (no_placement || servers_.size() < n) {
    return Error(Code::kNoPlacement, "the test says so");
  }
  for (u32 i = 0; i < count; ++i) {
    pb::ChunkInfo chunk;
    chunk.mutable_chunk()->set_file(file);
    chunk.mutable_chunk()->set_sequence(++stream.last_sequence);
    chunk.set_state(pb::CHUNK_OPEN);
    chunk.set_owner_epoch(stream.epoch);
    chunk.set_copies_max(n);
    chunk.set_copies_min(a);
    chunk.set_version(1);
    const u64 limit = stream.options.chunk_bytes();
    chunk.set_chunk_limit(limit == 0 ? 64u << 20 : static_cast<u32>(limit));
    // Wanted ones first, from a different server each time.
    std::vector<const Server*> chosen;
    for (int pass = 0; pass < 2; ++pass) {
      for (size_t k = 0; k < servers_.size() && chosen.size() < n; ++k) {
        const Server& server = servers_[(next_server_ + k) % servers_.size()];
        const bool is_excluded =
            std::find(excluded.begin(), excluded.end(), server.id) != excluded.end();
        if (is_excluded == (pass == 1)) {
          chosen.push_back(&server);
        }
      }
    }
    ++next_server_;
    for (const Server* server : chosen) {
      pb::Replica& replica = *chunk.add_replicas();
      replica.set_server(server->id);
      wire::set(*replica.mutable_device(), server->device);
    }
    *out.Add() = chunk;
    stream.chunks.push_back(std::move(chunk));
  }
  return ok_status();
}

void FakeMaster::describe(u64 file, pb::StreamInfo& out) {
  const Stream& stream = streams_[file];
  out.set_file(file);
  out.set_epoch(stream.epoch);
  out.set_state(stream.state);
  out.set_settled_length(stream.settled_length());
  for (const Server& server : servers_) {
    *out.add_servers() = info_of(server);
  }
}

pb::ServerInfo FakeMaster::info_of(const Server& server) const {
  pb::ServerInfo out;
  out.set_server(server.id);
  out.set_address(server.address);
  out.set_state(pb::SERVER_ALIVE);
  return out;
}

FakeMaster::Applied FakeMaster::open(const pb::OpenForAppendRequest& request) {
  const auto found = streams_.find(request.file());
  if (found == streams_.end()) {
    return Error(Code::kNotFound);
  }
  Stream& stream = found->second;
  if (stream.state == pb::STREAM_SEALED) {
    return Error(Code::kReadOnly);
  }
  const auto first_open =
      std::find_if(stream.chunks.begin(), stream.chunks.end(),
                   [](const pb::ChunkInfo& chunk) { return chunk.state() == pb::CHUNK_OPEN; });
  const auto tail = first_open - stream.chunks.begin();
  pb::OpenForAppendReply reply;
  ++stream.epoch;
  if (first_open == stream.chunks.end()) {
    const Status added = add_chunks(request.file(), request.fresh_chunks(),
                                    request.exclude_servers(), *reply.mutable_fresh());
    if (!added.ok()) {
      --stream.epoch;
      return added.error();
    }
    stream.state = pb::STREAM_OPEN;
  } else {
    stream.state = pb::STREAM_RECOVERING;
  }
  describe(request.file(), *reply.mutable_stream());
  if (stream.state == pb::STREAM_RECOVERING) {
    for (size_t i = static_cast<size_t>(tail); i < stream.chunks.size(); ++i) {
      *reply.mutable_stream()->add_chunks() = stream.chunks[i];
    }
  }
  return bytes_of(reply);
}

FakeMaster::Applied FakeMaster::allocate(const pb::AllocateChunksRequest& request) {
  Stream& stream = streams_[request.file()];
  if (stream.epoch != request.epoch() || stream.state != pb::STREAM_OPEN) {
    return Error(Code::kWrongEpoch);
  }
  ++allocations;
  pb::AllocateChunksReply reply;
  TRY_VOID(add_chunks(request.file(), request.count(), request.exclude_servers(),
                      *reply.mutable_chunks()));
  for (const Server& server : servers_) {
    *reply.add_servers() = info_of(server);
  }
  return bytes_of(reply);
}

FakeMaster::Applied FakeMaster::release(const pb::ReleaseChunkRequest& request) {
  Stream& stream = streams_[request.file()];
  if (stream.epoch != request.epoch() || stream.state != pb::STREAM_OPEN) {
    return Error(Code::kWrongEpoch);
  }
  ++releases;
  std::erase_if(stream.chunks, [&](const pb::ChunkInfo& chunk) {
    return chunk.chunk().sequence() == request.sequence() && chunk.state() == pb::CHUNK_OPEN;
  });
  return bytes_of(pb::ReleaseChunkReply());
}

Status FakeMaster::settle(Stream& stream, u32 sequence, u64 base, u32 length) {
  const auto chunk =
      std::find_if(stream.chunks.begin(), stream.chunks.end(),
                   [&](const pb::ChunkInfo& each) { return each.chunk().sequence() == sequence; });
  if (chunk == stream.chunks.end()) {
    return length == 0 ? ok_status() : Status(Error(Code::kConflict, "was dropped"));
  }
  if (chunk->state() == pb::CHUNK_SEALED) {
    return chunk->base() == base && chunk->length() == length
               ? ok_status()
               : Status(Error(Code::kConflict, "is settled otherwise"));
  }
  if (length == 0) {
    stream.chunks.erase(chunk);
    return ok_status();
  }
  chunk->set_state(pb::CHUNK_SEALED);
  chunk->set_base(base);
  chunk->set_length(length);
  return ok_status();
}

FakeMaster::Applied FakeMaster::report(const pb::ReportChunkRequest& request) {
  Stream& stream = streams_[request.file()];
  if (stream.epoch != request.epoch() || stream.state != pb::STREAM_OPEN) {
    return Error(Code::kWrongEpoch);
  }
  ++reports;
  TRY_VOID(settle(stream, request.sequence(), request.base(), request.length()));
  return bytes_of(pb::ReportChunkReply());
}

Status FakeMaster::decide(Stream& stream,
                          const google::protobuf::RepeatedPtrField<pb::Decision>& decisions) {
  for (const pb::Decision& decision : decisions) {
    if (decision.dropped() != (decision.length() == 0)) {
      return Error(Code::kInvalidArgument, "dropped or not");
    }
    TRY_VOID(settle(stream, decision.sequence(), decision.base(), decision.length()));
  }
  u64 end = 0;
  for (const pb::ChunkInfo& chunk : stream.chunks) {
    if (chunk.state() == pb::CHUNK_OPEN) {
      return Error(Code::kInvalidArgument,
                   fmt::format("chunk {} is not decided", chunk.chunk().sequence()));
    }
    if (chunk.base() != end) {
      return Error(Code::kConflict, fmt::format("chunk {} begins at {}, not {}",
                                                chunk.chunk().sequence(), chunk.base(), end));
    }
    end += chunk.length();
  }
  return ok_status();
}

FakeMaster::Applied FakeMaster::publish(const pb::PublishRequest& request) {
  Stream& stream = streams_[request.file()];
  if (stream.epoch != request.epoch() || stream.state != pb::STREAM_RECOVERING) {
    return Error(Code::kWrongEpoch);
  }
  Stream copy = stream;
  TRY_VOID(decide(copy, request.decisions()));
  stream = std::move(copy);
  ++publishes;
  stream.state = request.seal() ? pb::STREAM_SEALED : pb::STREAM_OPEN;
  pb::PublishReply reply;
  if (!request.seal() && request.fresh_chunks() > 0) {
    const Status added = add_chunks(request.file(), request.fresh_chunks(),
                                    request.exclude_servers(), *reply.mutable_fresh());
    (void)added;
  }
  describe(request.file(), *reply.mutable_stream());
  return bytes_of(reply);
}

FakeMaster::Applied FakeMaster::seal(const pb::SealFileRequest& request) {
  Stream& stream = streams_[request.file()];
  if (stream.epoch != request.epoch() || stream.state != pb::STREAM_OPEN) {
    return Error(Code::kWrongEpoch);
  }
  Stream copy = stream;
  TRY_VOID(decide(copy, request.decisions()));
  stream = std::move(copy);
  stream.state = pb::STREAM_SEALED;
  pb::SealFileReply reply;
  reply.set_length(stream.settled_length());
  return bytes_of(reply);
}

FakeMaster::Applied FakeMaster::get_stream(const pb::GetStreamRequest& request) {
  const auto found = streams_.find(request.file());
  if (found == streams_.end()) {
    return Error(Code::kNotFound);
  }
  pb::GetStreamReply reply;
  describe(request.file(), *reply.mutable_stream());
  u32 settled = 0;
  const u32 limit = request.limit() == 0 ? 64 : request.limit();
  for (const pb::ChunkInfo& chunk : found->second.chunks) {
    if (chunk.state() == pb::CHUNK_OPEN) {
      *reply.mutable_stream()->add_chunks() = chunk;
    } else if (chunk.base() + chunk.length() > request.from_offset()) {
      if (settled++ < limit) {
        *reply.mutable_stream()->add_chunks() = chunk;
      } else {
        reply.set_more(true);
      }
    }
  }
  return bytes_of(reply);
}

FakeMaster::Applied FakeMaster::cluster_info(const pb::ClusterInfoRequest&) {
  pb::ClusterInfoReply reply;
  for (const Server& server : servers_) {
    *reply.add_servers() = info_of(server);
  }
  reply.set_files(files_.size());
  reply.set_version("fake");
  return bytes_of(reply);
}

}  // namespace pangu::client::testing
