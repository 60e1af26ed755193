#include <fmt/core.h>

#include "base/reached.h"
#include "raft/driver/shared_log.h"
#include "runtime/await.h"

// Entries of the shared log, read back from disk.
namespace pangu::raft {
namespace {

constexpr u64 kReadBytesMax = kMiB;  // of one read, unless one record is larger
constexpr u64 kGapMax = 32 * kKiB;   // records of other groups in between that are read over
constexpr size_t kReadersMax = 16;   // open files

}  // namespace

Task<Result<Entries>> SharedLog::fetch(GroupId group, IndexRange range, u64 bytes_max) {
  if (closing_) {
    co_return Error(Code::kClosed, "the Raft log is being closed");
  }
  CHECK(opened_);
  const Gate::Holder holder(gate_);
  Entries out;
  u64 bytes = 0;
  Index next = range.first;
  while (next <= range.last && (out.empty() || bytes < bytes_max)) {
    const GroupLog* log = groups_.find(group);
    if (log == nullptr || !log->holds(next)) {
      break;
    }
    const IndexRange rest{next, std::min(range.last, log->summary.last().index)};
    const u64 room = bytes_max - std::min(bytes, bytes_max);
    const size_t before = out.size();
    if (cache_.read(group, rest, room, out) == LogView::Found::not_in_memory) {
      std::vector<Wanted> run = next_run(*log, rest, room);
      ++counters_.fetches;
      auto read = co_await read_run(group, std::move(run), out);
      CO_TRY_VOID(std::move(read));
    }
    for (size_t i = before; i < out.size(); ++i) {
      bytes += out[i].bytes();
    }
    if (bytes > bytes_max && before > 0) {
      out.resize(before);
      break;
    }
    next = out.empty() ? next : out.back().index + 1;
  }
  // Two entries of the same index and term are the same: if the last one still stands, all do.
  const GroupLog* log = groups_.find(group);
  if (out.empty() || log == nullptr || !log->holds(out.front().index) ||
      !log->summary.holds(out.back().id())) {
    co_return Error(Code::kNotFound, fmt::format("the log of group {} does not hold entry {}",
                                                 group.value(), range.first));
  }
  co_return out;
}

// The first entry of `range`, and those after it that are cheap to read with it.
std::vector<SharedLog::Wanted> SharedLog::next_run(const GroupLog& log, IndexRange range,
                                                   u64 bytes_max) const {
  std::vector<Wanted> run;
  u64 bytes = 0;
  for (Index index = range.first; index <= range.last; ++index) {
    const Place& place = log.place_of(index);
    bytes += place.bytes;
    if (!run.empty()) {
      const Place& first = run.front().place;
      const Place& last = run.back().place;
      const u64 end = u64{last.offset} + last.bytes;
      if (place.segment != first.segment || place.offset < end || place.offset - end > kGapMax ||
          place.offset + place.bytes - first.offset > kReadBytesMax || bytes > bytes_max) {
        break;
      }
    }
    run.push_back({{*log.summary.term_at(index), index}, place});
  }
  return run;
}

Result<std::shared_ptr<env::File>> SharedLog::reader_of(u32 segment) {
  if (const auto found = readers_.find(segment); found != readers_.end()) {
    return found->second;
  }
  const std::string& path = segments_.at(segment).path;
  TRY(file, reactor_.env().files().open(path, {.read_only = true}));
  if (readers_.size() >= kReadersMax) {
    readers_.erase(readers_.begin());
  }
  std::shared_ptr<env::File> reader = std::move(file);
  readers_.emplace(segment, reader);
  return reader;
}

// REQUIRES: the segment is there now
Task<Result<std::vector<std::byte>>> SharedLog::read_at(u32 segment, u64 offset, u64 bytes) {
  const std::string path = segments_.at(segment).path;
  // Shared: the segment may be deleted while it is read.
  CO_TRY(reader, reader_of(segment));
  const std::shared_ptr<env::File> file = reader;
  std::vector<std::byte> out(bytes);
  for (u64 done = 0; done < bytes;) {
    const i64 got = co_await async_read(*file, offset + done, MutableBytes(out).subspan(done));
    if (got < 0) {
      co_return env::error_from_errno(static_cast<int>(-got), path);
    }
    if (got == 0) {
      out.resize(done);
    }
    done = got == 0 ? bytes : done + static_cast<u64>(got);
  }
  co_return out;
}

// Adds as much of the run to `out` as is still where it was.
Task<Status> SharedLog::read_run(GroupId group, std::vector<Wanted> run, Entries& out) {
  const Place first = run.front().place;
  const Place last = run.back().place;
  const std::string path = segments_.at(first.segment).path;
  const u64 size = u64{last.offset} + last.bytes - first.offset;
  auto read = co_await read_at(first.segment, first.offset, size);
  CO_TRY(bytes, std::move(read));
  const u32 salt = make_segment_header(options_.log, first.segment).crc32c;
  for (const Wanted& wanted : run) {
    const auto record = record_at(bytes, wanted.place.offset - first.offset, salt);
    const bool right =
        record && record->group() == group && record->id() == wanted.id &&
        (record->header.type == RecordType::entry || record->header.type == RecordType::copy);
    if (right) {
      CO_TRY(entry, decode_entry(*record));
      out.push_back(std::move(entry));
    } else if (lives_at(group, wanted.id, wanted.place)) {
      REACHED("raft log: damage found by a fetch");
      co_return Error(Code::kCorrupt,
                      fmt::format("Raft log segment {}: entry {} of group {} at offset {} is "
                                  "damaged; restore this file, or take this member out of the "
                                  "group",
                                  path, to_string(wanted.id), group.value(), wanted.place.offset));
    } else {
      break;
    }
  }
  co_return ok_status();
}

}  // namespace pangu::raft
