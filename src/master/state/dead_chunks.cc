#include "master/state/dead_chunks.h"

#include <optional>

#include "master/state/record.pb.h"
#include "wire/proto.h"

namespace pangu::master {
namespace {

// The first chunk of the stream that is open or may become so.
std::optional<u32> first_live(const record::Stream& stream) {
  if (stream.state() == static_cast<u32>(pb::STREAM_SEALED)) {
    return std::nullopt;
  }
  if (!stream.tail().empty()) {
    return stream.tail(0).sequence();
  }
  if (stream.last_sequence() == ~u32{0}) {
    return std::nullopt;  // it can have no more
  }
  return stream.last_sequence() + 1;
}

}  // namespace

pb::DeadChunks dead_chunks(Txn& txn, const ChunkId& from, size_t files_max) {
  pb::DeadChunks out;
  wire::set(*out.mutable_from(), from);
  // Files that do not exist yet have no stream either.
  const FileId end{txn.meta().next_file()};
  if (from.file >= end) {
    wire::set(*out.mutable_until(), from);
    return out;
  }
  wire::set(*out.mutable_until(), ChunkId{.file = end});
  const KvPage page = txn.scan(keys::stream(from.file), keys::stream(end), files_max);
  for (const KvEntry& found : page.entries) {
    const u64 file = keys::decode_u64(std::string_view(found.key).substr(1));
    record::Stream stream;
    txn.get(found.key, stream);
    if (const auto first = first_live(stream)) {
      pb::LiveFile& live = *out.add_live();
      live.set_file(file);
      live.set_first(*first);
    }
    if (page.more && &found == &page.entries.back()) {
      wire::set(*out.mutable_until(), ChunkId{.file = {file + 1}});
    }
  }
  return out;
}

}  // namespace pangu::master
