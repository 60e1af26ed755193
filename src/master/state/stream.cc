#include "master/state/stream.h"

#include <fmt/core.h>

#include "base/reached.h"
#include "master/state/chunk_list.h"
#include "master/state/file_options.h"
#include "master/state/limits.h"
#include "master/state/removed_files.h"

namespace pangu::master {
namespace {

Error no_stream(Txn& txn, FileId file) {
  return Error(Code::kNotFound,
               is_removed(txn, file)
                   ? fmt::format("file {} was removed", to_string(file))
                   : fmt::format("file {} was never opened for append", to_string(file)));
}

Status check_group(Txn& txn, FileId file) {
  if (is_of_group(txn, file)) {
    return ok_status();
  }
  return Error(Code::kInvalidArgument,
               fmt::format("file {} is not one of stream group {}", to_string(file),
                           txn.meta().index()));
}

// With std::nullopt for a file that may be opened, but never was.
Result<std::optional<record::Stream>> find(Txn& txn, FileId file) {
  TRY_VOID(check_group(txn, file));
  std::optional<record::Stream> stream(std::in_place);
  if (txn.get(keys::stream(file), *stream)) {
    return stream;
  }
  if (is_removed(txn, file)) {
    return no_stream(txn, file);
  }
  stream.reset();
  return stream;
}

Result<record::Stream> load(Txn& txn, FileId file) {
  TRY(found, find(txn, file));
  if (!found) {
    return no_stream(txn, file);
  }
  return std::move(*found);
}

std::string_view state_name(u32 state) {
  switch (static_cast<pb::StreamState>(state)) {
    case pb::STREAM_NEW:
      return "never opened for append";
    case pb::STREAM_OPEN:
      return "open";
    case pb::STREAM_RECOVERING:
      return "being recovered";
    case pb::STREAM_SEALED:
      return "sealed";
    default:
      return "in an unknown state";
  }
}

// Whoever is not the stream's writer of this moment must stop, whatever else is true.
Status check_epoch(FileId file, const record::Stream& stream, u32 epoch, pb::StreamState needed) {
  if (stream.epoch() == epoch && stream.state() == static_cast<u32>(needed)) {
    return ok_status();
  }
  const std::string now = fmt::format("file {} is {} at epoch {}; the caller's epoch is {}",
                                      to_string(file), state_name(stream.state()), stream.epoch(),
                                      epoch);
  const bool sealed_by_caller =
      stream.epoch() == epoch && stream.state() == static_cast<u32>(pb::STREAM_SEALED);
  return Error(sealed_by_caller ? Code::kReadOnly : Code::kWrongEpoch, now);
}

Status check_fresh(u32 count, u32 least) {
  if (count < least || count > kFreshMax) {
    return Error(Code::kInvalidArgument, fmt::format("{} new chunks were asked for; {} to {} is "
                                                     "possible",
                                                     count, least, kFreshMax));
  }
  return ok_status();
}

}  // namespace

Result<record::Stream> stream_to_open(Txn& txn, FileId file, const pb::FileOptions& options) {
  TRY(found, find(txn, file));
  if (found) {
    return std::move(*found);
  }
  TRY(checked, checked_options(options));
  record::Stream stream;
  stream.set_state(pb::STREAM_NEW);
  stream.set_copies_max(checked.copies_max());
  stream.set_copies_min(checked.copies_min());
  stream.set_chunk_bytes(checked.chunk_bytes());
  return stream;
}

Result<pb::OpenForAppendReply> open_for_append(Txn& txn, const ApplyContext& context,
                                               const pb::OpenForAppendRequest& request) {
  TRY_VOID(check_fresh(request.fresh_chunks(), 1));
  const FileId file{request.file()};
  TRY(stream, stream_to_open(txn, file, request.options()));
  if (stream.state() == static_cast<u32>(pb::STREAM_SEALED)) {
    return Error(Code::kReadOnly, fmt::format("file {} is sealed", to_string(file)));
  }
  if (stream.epoch() == ~u32{0}) {
    return Error(Code::kTooLarge, fmt::format("file {} has used up its epochs", to_string(file)));
  }
  stream.set_epoch(stream.epoch() + 1);
  pb::OpenForAppendReply reply;
  if (stream.tail().empty()) {
    stream.set_state(pb::STREAM_OPEN);
    TRY_VOID(ChunkList(txn, file, stream)
                 .add_fresh(context, request.fresh_chunks(), *reply.mutable_fresh()));
  } else {
    stream.set_state(pb::STREAM_RECOVERING);
  }
  describe_head(*reply.mutable_stream(), file, stream);
  if (reply.stream().state() == pb::STREAM_RECOVERING) {
    for (const record::Chunk& chunk : stream.tail()) {
      describe_chunk(*reply.mutable_stream()->add_chunks(), file, chunk);
    }
  }
  txn.put(keys::stream(file), stream);
  return reply;
}

Result<pb::AllocateChunksReply> allocate_chunks(Txn& txn, const ApplyContext& context,
                                                const pb::AllocateChunksRequest& request) {
  TRY_VOID(check_fresh(request.count(), 1));
  const FileId file{request.file()};
  TRY(stream, load(txn, file));
  TRY_VOID(check_epoch(file, stream, request.epoch(), pb::STREAM_OPEN));
  pb::AllocateChunksReply reply;
  TRY_VOID(ChunkList(txn, file, stream)
               .add_fresh(context, request.count(), *reply.mutable_chunks()));
  txn.put(keys::stream(file), stream);
  return reply;
}

Result<pb::ReleaseChunkReply> release_chunk(Txn& txn, const ApplyContext&,
                                            const pb::ReleaseChunkRequest& request) {
  const FileId file{request.file()};
  TRY(stream, load(txn, file));
  TRY_VOID(check_epoch(file, stream, request.epoch(), pb::STREAM_OPEN));
  ChunkList chunks(txn, file, stream);
  const int place = chunks.find(request.sequence());
  if (place < 0 || stream.tail(place).state() != static_cast<u32>(pb::CHUNK_OPEN)) {
    TRY_VOID(chunks.check_settled(request.sequence(), 0, 0));
    return pb::ReleaseChunkReply();
  }
  chunks.release(place);
  // Its neighbours meet now.
  TRY_VOID(chunks.check_joins());
  chunks.advance();
  txn.put(keys::stream(file), stream);
  return pb::ReleaseChunkReply();
}

Result<pb::ReportChunkReply> report_chunk(Txn& txn, const ApplyContext&,
                                          const pb::ReportChunkRequest& request) {
  const FileId file{request.file()};
  TRY(stream, load(txn, file));
  TRY_VOID(check_epoch(file, stream, request.epoch(), pb::STREAM_OPEN));
  ChunkList chunks(txn, file, stream);
  const int place = chunks.find(request.sequence());
  if (place < 0 || stream.tail(place).state() != static_cast<u32>(pb::CHUNK_OPEN)) {
    TRY_VOID(chunks.check_settled(request.sequence(), request.base(), request.length()));
    return pb::ReportChunkReply();
  }
  mark_suspects(*stream.mutable_tail(place), request.suspect_servers());
  TRY_VOID(chunks.settle(place, request.base(), request.length()));
  TRY_VOID(chunks.check_joins());
  chunks.advance();
  txn.put(keys::stream(file), stream);
  return pb::ReportChunkReply();
}

Result<pb::PublishReply> publish(Txn& txn, const ApplyContext& context,
                                 const pb::PublishRequest& request) {
  TRY_VOID(check_fresh(request.fresh_chunks(), 0));
  const FileId file{request.file()};
  TRY(stream, load(txn, file));
  TRY_VOID(check_epoch(file, stream, request.epoch(), pb::STREAM_RECOVERING));
  ChunkList chunks(txn, file, stream);
  TRY_VOID(chunks.settle_all(request.decisions(), ChunkList::MayMove::yes));
  stream.set_state(request.seal() ? pb::STREAM_SEALED : pb::STREAM_OPEN);
  pb::PublishReply reply;
  if (!request.seal() && request.fresh_chunks() > 0) {
    const Status added =
        chunks.add_fresh(context, request.fresh_chunks(), *reply.mutable_fresh());
    if (!added.ok()) {
      // The decision must not wait for new places: it is what makes the file readable to its end.
      REACHED("master: published without a new chunk for want of a placement");
    }
  }
  describe_head(*reply.mutable_stream(), file, stream);
  txn.put(keys::stream(file), stream);
  return reply;
}

Result<pb::SealFileReply> seal_file(Txn& txn, const ApplyContext&,
                                    const pb::SealFileRequest& request) {
  const FileId file{request.file()};
  TRY(stream, load(txn, file));
  TRY_VOID(check_epoch(file, stream, request.epoch(), pb::STREAM_OPEN));
  TRY_VOID(ChunkList(txn, file, stream).settle_all(request.decisions(), ChunkList::MayMove::no));
  stream.set_state(pb::STREAM_SEALED);
  txn.put(keys::stream(file), stream);
  pb::SealFileReply reply;
  reply.set_length(stream.settled_length());
  return reply;
}

Result<pb::GetStreamReply> get_stream(Txn& txn, const pb::GetStreamRequest& request) {
  const FileId file{request.file()};
  TRY(found, find(txn, file));
  pb::GetStreamReply reply;
  pb::StreamInfo& info = *reply.mutable_stream();
  if (!found) {
    info.set_file(file.number);
    info.set_state(pb::STREAM_NEW);
    return reply;
  }
  const record::Stream& stream = *found;
  describe_head(info, file, stream);
  const u32 limit = request.limit() == 0 ? kStreamListDefault
                                         : std::min(request.limit(), kStreamListMax);
  if (request.from_offset() < stream.settled_length()) {
    const KvPage page = txn.scan(keys::chunk_end(file, request.from_offset() + 1),
                                 prefix_end(keys::chunk_ends_of(file)), limit);
    for (const KvEntry& end : page.entries) {
      record::Chunk chunk;
      if (txn.get(keys::chunk(file, keys::decode_u32(end.value)), chunk)) {
        describe_chunk(*info.add_chunks(), file, chunk);
      }
    }
    reply.set_more(page.more);
  }
  for (const record::Chunk& chunk : stream.tail()) {
    const bool settled = chunk.state() == static_cast<u32>(pb::CHUNK_SEALED);
    if (!settled || chunk.base() + chunk.length() > request.from_offset()) {
      describe_chunk(*info.add_chunks(), file, chunk);
    }
  }
  return reply;
}

Result<pb::GetStreamsReply> get_streams(Txn& txn, const pb::GetStreamsRequest& request) {
  if (request.requests_size() > kStreamsPerRequest) {
    return Error(Code::kInvalidArgument, fmt::format("{} files in one request; {} are possible",
                                                     request.requests_size(), kStreamsPerRequest));
  }
  pb::GetStreamsReply reply;
  size_t bytes = 0;
  for (const pb::GetStreamRequest& each : request.requests()) {
    pb::GetStreamsReply::One& one = *reply.add_replies();
    if (bytes > kReplyBytesSoft) {
      REACHED("master: more streams were asked for than one reply takes");
      one.set_code(static_cast<u32>(Code::kBusy));
      one.set_text("the reply is full: ask again for the rest");
      continue;
    }
    auto found = get_stream(txn, each);
    if (!found.ok()) {
      one.set_code(static_cast<u32>(found.code()));
      one.set_text(std::string(found.error().context()));
      continue;
    }
    *one.mutable_reply() = std::move(*found);
    bytes += one.ByteSizeLong();
  }
  return reply;
}

}  // namespace pangu::master
