#include "client/chunk_place.h"

#include <fmt/format.h>

namespace pangu::client {

namespace {

Error bad_chunk(const pb::ChunkInfo& info, std::string_view what) {
  return Error(Code::kBadFrame, fmt::format("the master lists chunk {} of file {}: {}",
                                            info.chunk().sequence(), info.chunk().file(), what));
}

Result<ChunkState> read_state(const pb::ChunkInfo& info) {
  switch (info.state()) {
    case pb::CHUNK_OPEN:
      return ChunkState::open;
    case pb::CHUNK_SEALED:
      return ChunkState::sealed;
    case pb::CHUNK_DROPPED:
      return ChunkState::dropped;
    default:
      return bad_chunk(info, "with a state that this version does not know");
  }
}

Result<StreamState> read_state(const pb::StreamInfo& info) {
  switch (info.state()) {
    case pb::STREAM_NEW:
      return StreamState::fresh;
    case pb::STREAM_OPEN:
      return StreamState::open;
    case pb::STREAM_RECOVERING:
      return StreamState::recovering;
    case pb::STREAM_SEALED:
      return StreamState::sealed;
    default:
      return Error(Code::kBadFrame,
                   "the master answers a stream state that this version does not "
                   "know");
  }
}

}  // namespace

Result<ChunkPlace> read_chunk(const pb::ChunkInfo& info, FileId file) {
  TRY(state, read_state(info));
  ChunkPlace out;
  out.id = wire::get(info.chunk());
  out.state = state;
  if (out.id.file != file || out.id.shard != 0) {
    return bad_chunk(info, "of another file or layout");
  }
  const u32 n = info.copies_max();
  const u32 a = info.copies_min();
  if (n == 0 || n > kCopiesMax || a == 0 || a > n || 2 * a <= n) {
    return bad_chunk(info, fmt::format("with {} copies of which {} acknowledge", n, a));
  }
  if (state == ChunkState::open && info.replicas_size() != static_cast<int>(n)) {
    return bad_chunk(info, fmt::format("with {} of {} locations", info.replicas_size(), n));
  }
  out.owner = {info.owner_epoch()};
  out.copies_max = static_cast<u8>(n);
  out.copies_min = static_cast<u8>(a);
  out.base = info.base();
  out.length = info.length();
  out.version = info.version();
  out.limit = info.chunk_limit();
  for (const pb::Replica& replica : info.replicas()) {
    out.replicas.push_back(
        {.location = {.server = {replica.server()}, .device = wire::get(replica.device())},
         .suspect = replica.suspect()});
  }
  return out;
}

Result<std::vector<ChunkPlace>> read_chunks(
    const google::protobuf::RepeatedPtrField<pb::ChunkInfo>& infos, FileId file) {
  std::vector<ChunkPlace> out;
  out.reserve(static_cast<size_t>(infos.size()));
  for (const pb::ChunkInfo& info : infos) {
    TRY(chunk, read_chunk(info, file));
    if (!out.empty() && out.back().id.sequence >= chunk.id.sequence) {
      return bad_chunk(info, "out of order");
    }
    out.push_back(std::move(chunk));
  }
  return out;
}

Result<StreamSnapshot> read_stream(const pb::StreamInfo& info, FileId file) {
  if (info.file() != file.number) {
    return Error(Code::kBadFrame, fmt::format("the master answers stream {} for file {}",
                                              info.file(), to_string(file)));
  }
  TRY(state, read_state(info));
  TRY(chunks, read_chunks(info.chunks(), file));
  StreamSnapshot out;
  out.file = file;
  out.epoch = {info.epoch()};
  out.state = state;
  out.settled_length = info.settled_length();
  out.chunks = std::move(chunks);
  return out;
}

}  // namespace pangu::client
