#include "raft/driver/log_replay.h"

#include <fmt/core.h>
#include <limits>

#include "base/log.h"
#include "base/reached.h"
#include "runtime/await.h"

namespace pangu::raft {
namespace {

constexpr std::string_view kSuffix = ".raftlog";
constexpr size_t kDigits = 16;
constexpr std::string_view kAdvice =
    "restore this file, or take this member out of its groups and let it begin anew";

Error corrupt(std::string text) {
  return Error(Code::kCorrupt, std::move(text));
}

Error damaged(const std::string& path, u64 offset) {
  REACHED("raft log: damage found");
  return corrupt(
      fmt::format("Raft log segment {}: the record at offset {} is damaged or does not "
                  "continue what is before it, and it had been durable; {}",
                  path, offset, kAdvice));
}

}  // namespace

std::string segment_file_name(u64 number) {
  return fmt::format("{:016x}{}", number, kSuffix);
}

u64 segment_number_of(std::string_view file_name) {
  if (file_name.size() != kDigits + kSuffix.size() || !file_name.ends_with(kSuffix)) {
    return 0;
  }
  u64 number = 0;
  for (const char c : file_name.substr(0, kDigits)) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit && !(c >= 'a' && c <= 'f')) {
      return 0;
    }
    number = number << 4 | static_cast<u64>(digit ? c - '0' : c - 'a' + 10);
  }
  return number;
}

Status LogReplay::find_segments() {
  TRY(names, reactor_.env().files().list(directory_));
  for (const std::string& name : names) {
    const u64 number = segment_number_of(name);
    if (number == 0) {
      continue;
    }
    auto& list = segments_.list();
    if (number > std::numeric_limits<u32>::max() ||
        (!list.empty() && number != list.back().number + 1)) {
      return corrupt(fmt::format("{}: Raft log segment {} is missing before {}; {}", directory_,
                                 segment_file_name(list.empty() ? 1 : list.back().number + 1), name,
                                 kAdvice));
    }
    list.push_back({.number = static_cast<u32>(number), .path = directory_ + "/" + name});
  }
  return ok_status();
}

Task<Status> LogReplay::run() {
  CO_TRY_VOID(find_segments());
  const size_t count = segments_.list().size();
  for (size_t i = 0; i < count; ++i) {
    auto replayed = co_await replay_segment(i);
    CO_TRY_VOID(std::move(replayed));
  }
  if (count > 0) {
    auto settled = groups_.settle(segments_.list().front().number > 1);
    if (!settled.ok()) {
      co_return std::move(settled).error().within(directory_ + ": Raft log");
    }
  }
  co_return ok_status();
}

Task<Result<std::vector<std::byte>>> LogReplay::read_segment(std::string path) {
  CO_TRY(file, reactor_.env().files().open(path, {.read_only = true}));
  if (file->size() > std::numeric_limits<u32>::max()) {
    co_return corrupt(fmt::format("Raft log segment {}: is larger than any segment", path));
  }
  std::vector<std::byte> bytes(file->size());
  for (u64 done = 0; done < bytes.size();) {
    const i64 got = co_await async_read(*file, done, MutableBytes(bytes).subspan(done));
    if (got < 0) {
      co_return env::error_from_errno(static_cast<int>(-got), path);
    }
    done += static_cast<u64>(got);
    bytes.resize(got == 0 ? done : bytes.size());
  }
  co_return bytes;
}

Task<Status> LogReplay::replay_segment(size_t place) {
  const std::string path = segments_.list()[place].path;
  const bool last = place + 1 == segments_.list().size();
  auto read = co_await read_segment(path);
  CO_TRY(contents, std::move(read));
  const Bytes bytes(contents);
  CO_TRY(header, decode_segment_header(path, log_, bytes));
  LogSegment& segment = segments_.list()[place];
  if (header.number != segment.number) {
    co_return corrupt(fmt::format("Raft log segment {}: is segment {} by its header; {}", path,
                                  header.number, kAdvice));
  }
  chain_known_ = chain_known_ || segment.number == 1;
  const SegmentScan scan =
      scan_segment(header, bytes, chain_known_ ? std::optional<Chain>(chain_) : std::nullopt);
  const bool tableless = scan.offsets.empty() && (!last || segment.number > 1) && place == 0;
  if (unproven_ && (scan.damaged || scan.offsets.empty())) {
    co_return damaged(unproven_->path, unproven_->offset);
  }
  unproven_.reset();
  if (scan.damaged || (!last && scan.offsets.empty()) || tableless) {
    co_return damaged(path, scan.damaged_at);
  }
  if (!last && scan.torn) {
    // Left by a cut that no power loss may undo, and yet one did; or damage.
    unproven_ = Unproven{path, scan.damaged_at};
  }
  segment.bytes = scan.end;
  restoring_ = place == 0;
  for (const u32 offset : scan.offsets) {
    const Record record = checked_record_at(bytes, offset);
    Status applied = (offset == sizeof(SegmentHeader)) != (record.header.type == RecordType::table)
                         ? corrupt(
                               "a table of groups that is not first, or a first record that is "
                               "not a table")
                         : apply(segments_.list()[place], record);
    if (!applied.ok()) {
      co_return corrupt(
          fmt::format("Raft log segment {}: the record at offset {} is undamaged but "
                      "impossible: {}; please report this",
                      path, offset, applied.error().context()));
    }
    if (segments_.list()[place].table_end == 0 && states_left_ == 0) {
      segments_.list()[place].table_end = record.end;
    }
    co_await yield_if_expired();
  }
  if (!scan.offsets.empty()) {
    chain_ = scan.chain;
    chain_known_ = true;
  }
  if (last) {
    file_bytes_ = bytes.size();
    torn_ = scan.torn;
    remember_last_write(scan, bytes);
  }
  co_return ok_status();
}

void LogReplay::remember_last_write(const SegmentScan& scan, Bytes bytes) {
  u64 from = scan.end;
  for (auto it = scan.offsets.rbegin(); it != scan.offsets.rend(); ++it) {
    if (checked_record_at(bytes, *it).header.sequence <= scan.durable) {
      break;
    }
    from = *it;
  }
  const Bytes written = bytes.subspan(from, scan.end - from);
  last_write_.assign(written.begin(), written.end());
}

Status LogReplay::apply_table(const LogSegment&, const Record& record) {
  if (record.header.type == RecordType::table) {
    TRY(table, decode_table(record.body));
    states_left_ = table.groups;
    if (restoring_) {
      groups_.begin(table);
      return ok_status();
    }
    return groups_.verify(table);
  }
  if (states_left_ == 0) {
    return corrupt("the state of a group outside of a table");
  }
  --states_left_;
  TRY(state, decode_state(record.body));
  return restoring_ ? groups_.restore(record.group(), std::move(state))
                    : groups_.verify(record.group(), state);
}

Status LogReplay::apply(const LogSegment& segment, const Record& record) {
  const RecordType type = record.header.type;
  if (type == RecordType::table || type == RecordType::state) {
    return apply_table(segment, record);
  }
  if (states_left_ > 0) {
    return corrupt("a table that lacks groups");
  }
  const GroupId group = record.group();
  const Place place{.segment = segment.number,
                    .offset = static_cast<u32>(record.offset),
                    .bytes = static_cast<u32>(record.end - record.offset)};
  switch (type) {
    case RecordType::create: {
      TRY(base, decode_meta(record));
      return groups_.create(group, std::move(base));
    }
    case RecordType::remove:
      return groups_.remove(group);
    case RecordType::install: {
      TRY(base, decode_meta(record));
      return groups_.install(group, std::move(base));
    }
    case RecordType::hard_state: {
      TRY(hard_state, decode_hard_state(record));
      return groups_.set_hard_state(group, hard_state);
    }
    case RecordType::entry: {
      Record without_payload = record;
      if (static_cast<EntryKind>(record.header.kind) != EntryKind::configuration) {
        without_payload.body = {};
      }
      TRY(entry, decode_entry(without_payload));
      return groups_.append(group, entry, place);
    }
    case RecordType::copy:
      return groups_.relocate(group, record.id(), place);
    case RecordType::table:
    case RecordType::state:
      break;
  }
  return corrupt(fmt::format("of an unknown type {}", static_cast<u32>(type)));
}

}  // namespace pangu::raft
