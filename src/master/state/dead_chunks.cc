#include "master/state/dead_chunks.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "master/state/record.pb.h"
#include "master/state/removed_files.h"
#include "wire/partition.h"
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

struct OpenedFile {
  u64 file = 0;
  std::optional<u32> live;
};

// What is known of the files [from, until).
struct Known {
  std::vector<OpenedFile> opened;
  std::vector<FileRange> removed;
  u64 until = 0;
};

Known look(Txn& txn, u64 from, u64 end, size_t files_max) {
  Known known{.opened = {}, .removed = {}, .until = end};
  const KvPage streams = txn.scan(keys::stream({from}), keys::stream({end}), files_max);
  for (const KvEntry& found : streams.entries) {
    record::Stream stream;
    txn.get(found.key, stream);
    known.opened.push_back({.file = keys::decode_u64(std::string_view(found.key).substr(1)),
                            .live = first_live(stream)});
  }
  if (streams.more) {
    known.until = known.opened.back().file + 1;
  }
  RemovedPage removed = removed_from(txn, {from}, files_max);
  known.removed = std::move(removed.ranges);
  if (removed.more) {
    known.until = std::min(known.until, known.removed.back().end.number);
  }
  return known;
}

void add_live(pb::DeadChunks& out, u64 file, u32 first, u64 files) {
  pb::LiveFile& live = *out.add_live();
  live.set_file(file);
  live.set_first(first);
  if (files > 1) {
    live.set_files(files);
  }
}

// Goes through the files from `at` on and returns where it had to stop. Files that are neither
// removed nor opened are alive, as far as there are others behind them.
u64 walk(const Known& known, u64 at, pb::DeadChunks& out) {
  auto opened = known.opened.begin();
  auto removed = known.removed.begin();
  while (at < known.until) {
    if (removed != known.removed.end() && removed->from.number <= at) {
      at = std::min(removed->end.number, known.until);
      ++removed;
      continue;
    }
    if (opened != known.opened.end() && opened->file == at) {
      if (opened->live) {
        add_live(out, at, *opened->live, 1);
      }
      ++opened;
      ++at;
      continue;
    }
    u64 next = known.until;
    bool more = false;
    if (opened != known.opened.end() && opened->file < next) {
      next = opened->file;
      more = true;
    }
    if (removed != known.removed.end() && removed->from.number < next) {
      next = removed->from.number;
      more = true;
    }
    if (!more) {
      break;
    }
    add_live(out, at, 0, next - at);
    at = next;
  }
  return at;
}

}  // namespace

pb::DeadChunks dead_chunks(Txn& txn, const ChunkId& from, size_t files_max) {
  pb::DeadChunks out;
  wire::set(*out.mutable_from(), from);
  wire::set(*out.mutable_until(), from);
  if (!is_of_group(txn, from.file)) {
    return out;
  }
  const u64 first = from.file.number;
  // The greatest id of the group is never given out.
  const u64 end = wire::file_id(wire::stream_index_of(from.file), 0, 0).number |
                  ((u64{1} << 52) - 1);
  if (first >= end) {
    return out;
  }
  const u64 until = walk(look(txn, first, end, files_max), first, out);
  if (until > first) {
    wire::set(*out.mutable_until(), ChunkId{.file = {until}});
  }
  return out;
}

}  // namespace pangu::master
