#include "client/testing/fake_streams.h"

#include <algorithm>
#include <fmt/format.h>

namespace pangu::client::testing {

namespace {
template <class M>
std::string bytes_of(const M& message) {
  return message.SerializeAsString();
}
}  // namespace

u64 FakeStreams::Stream::settled_length() const {
  u64 end = 0;
  for (const pb::ChunkInfo& chunk : chunks) {
    if (chunk.state() != pb::CHUNK_SEALED) {
      break;
    }
    end = chunk.base() + chunk.length();
  }
  return end;
}

void FakeStreams::remove(u64 file) {
  streams_.erase(file);
  removed_.insert(file);
}

Status FakeStreams::add_chunks(u64 file, u32 count, const Excluded& excluded, Chunks& out) {
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

void FakeStreams::describe(u64 file, pb::StreamInfo& out) {
  const Stream& stream = streams_[file];
  out.set_file(file);
  out.set_epoch(stream.epoch);
  out.set_state(stream.state);
  out.set_settled_length(stream.settled_length());
  for (const Server& server : servers_) {
    *out.add_servers() = info_of(server);
  }
}

pb::ServerInfo FakeStreams::info_of(const Server& server) const {
  pb::ServerInfo out;
  out.set_server(server.id);
  out.set_address(server.address);
  out.set_state(pb::SERVER_ALIVE);
  return out;
}

FakeStreams::Answer FakeStreams::open(const pb::OpenForAppendRequest& request) {
  if (removed_.contains(request.file())) {
    return Error(Code::kNotFound);
  }
  const auto [found, fresh] = streams_.emplace(request.file(), Stream());
  Stream& stream = found->second;
  if (fresh) {
    stream.options = request.options();
  }
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

FakeStreams::Answer FakeStreams::allocate(const pb::AllocateChunksRequest& request) {
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

FakeStreams::Answer FakeStreams::release(const pb::ReleaseChunkRequest& request) {
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

Status FakeStreams::settle(Stream& stream, u32 sequence, u64 base, u32 length) {
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

FakeStreams::Answer FakeStreams::report(const pb::ReportChunkRequest& request) {
  Stream& stream = streams_[request.file()];
  if (stream.epoch != request.epoch() || stream.state != pb::STREAM_OPEN) {
    return Error(Code::kWrongEpoch);
  }
  ++reports;
  TRY_VOID(settle(stream, request.sequence(), request.base(), request.length()));
  return bytes_of(pb::ReportChunkReply());
}

Status FakeStreams::decide(Stream& stream,
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

FakeStreams::Answer FakeStreams::publish(const pb::PublishRequest& request) {
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

FakeStreams::Answer FakeStreams::seal(const pb::SealFileRequest& request) {
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

Result<pb::GetStreamReply> FakeStreams::describe_stream(const pb::GetStreamRequest& request) {
  if (removed_.contains(request.file())) {
    return Error(Code::kNotFound);
  }
  pb::GetStreamReply reply;
  const auto found = streams_.find(request.file());
  if (found == streams_.end()) {
    reply.mutable_stream()->set_file(request.file());
    reply.mutable_stream()->set_state(pb::STREAM_NEW);
    return reply;
  }
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
  return reply;
}

FakeStreams::Answer FakeStreams::get_stream(const pb::GetStreamRequest& request) {
  TRY(reply, describe_stream(request));
  return bytes_of(reply);
}

FakeStreams::Answer FakeStreams::get_streams(const pb::GetStreamsRequest& request) {
  pb::GetStreamsReply out;
  for (const pb::GetStreamRequest& each : request.requests()) {
    pb::GetStreamsReply::One& one = *out.add_replies();
    if (out.replies_size() > streams_per_reply) {
      one.set_code(static_cast<u32>(Code::kBusy));
      continue;
    }
    auto reply = describe_stream(each);
    if (reply.ok()) {
      *one.mutable_reply() = std::move(*reply);
    } else {
      one.set_code(static_cast<u32>(reply.code()));
    }
  }
  return bytes_of(out);
}

}  // namespace pangu::client::testing
