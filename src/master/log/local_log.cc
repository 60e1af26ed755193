#include "master/log/local_log.h"

#include <fmt/core.h>

#include "base/log.h"
#include "base/reached.h"
#include "runtime/await.h"

namespace pangu::master {
namespace {

constexpr std::string_view kSuffix = ".log";

std::string segment_name(u64 first_index) {
  return fmt::format("{:016x}{}", first_index, kSuffix);
}

// 0: not the name of a segment.
u64 first_index_of(std::string_view name) {
  if (name.size() != 16 + kSuffix.size() || !name.ends_with(kSuffix)) {
    return 0;
  }
  u64 index = 0;
  for (const char c : name.substr(0, 16)) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit && !(c >= 'a' && c <= 'f')) {
      return 0;
    }
    index = index << 4 | static_cast<u64>(digit ? c - '0' : c - 'a' + 10);
  }
  return index;
}

Error corrupt(std::string text) { return Error(Code::kCorrupt, std::move(text)); }

}  // namespace

LocalLog::LocalLog(Reactor& reactor, LocalLogOptions options)
    : reactor_(reactor), options_(std::move(options)) {}

LocalLog::~LocalLog() = default;

u64 LocalLog::stored_bytes() const {
  u64 sum = 0;
  for (const Segment& segment : segments_) {
    sum += segment.bytes;
  }
  return sum;
}

// ---- open ----

Status LocalLog::find_segments() {
  TRY(names, reactor_.env().files().list(options_.directory));
  for (const std::string& name : names) {
    if (const u64 first = first_index_of(name); first != 0) {
      segments_.push_back(
          {.first_index = first, .path = options_.directory + "/" + name, .bytes = 0});
    }
  }
  return ok_status();
}

Task<Status> LocalLog::open(u64 applied, Consumer& consumer) {
  CHECK(!opened_);
  consumer_ = &consumer;
  CO_TRY_VOID(find_segments());
  if (segments_.empty() && applied > 0) {
    co_return corrupt(fmt::format("{}: the log is gone, but the metadata store holds commands up "
                                  "to {}: put the log back",
                                  options_.directory, applied));
  }
  if (!segments_.empty() && segments_.front().first_index > applied + 1) {
    co_return corrupt(fmt::format("{}: the log begins at command {}, but the metadata store ends "
                                  "at {}: commands between are missing",
                                  options_.directory, segments_.front().first_index, applied));
  }
  Replay replay{.applied = applied};
  for (size_t i = 0; i < segments_.size(); ++i) {
    auto replayed = co_await replay_segment(i, replay);
    CO_TRY_VOID(std::move(replayed));
  }
  committed_ = replay.next_index == 0 ? 0 : replay.next_index - 1;
  last_crc_ = replay.previous_crc;
  if (committed_ < applied) {
    co_return corrupt(fmt::format("{}: the log ends at command {}, but the metadata store holds "
                                  "commands up to {}",
                                  options_.directory, committed_, applied));
  }
  if (segments_.empty()) {
    CO_TRY_VOID(add_segment());
  }
  opened_ = true;
  gate_.spawn(reactor_, "master log writer", TaskClass::foreground, write_loop());
  gate_.spawn(reactor_, "master log delivery", TaskClass::foreground, deliver_loop());
  gate_.spawn(reactor_, "master log preparation", TaskClass::foreground, prepare_loop());
  co_return ok_status();
}

Task<Result<std::vector<std::byte>>> LocalLog::read_segment(std::string path) {
  constexpr u64 kPiece = kMiB;
  CO_TRY(file, reactor_.env().files().open(path, {.read_only = true}));
  std::vector<std::byte> bytes;
  for (;;) {
    const u64 offset = bytes.size();
    bytes.resize(offset + kPiece);
    const i64 got = co_await async_read(*file, offset, MutableBytes(bytes).subspan(offset));
    if (got < 0) {
      co_return env::error_from_errno(static_cast<int>(-got), path);
    }
    bytes.resize(offset + static_cast<u64>(got));
    if (got == 0) {
      co_return bytes;
    }
  }
}

Task<Status> LocalLog::replay_segment(size_t place, Replay& replay) {
  const Segment segment = segments_[place];
  const bool last = place + 1 == segments_.size();
  auto read = co_await read_segment(segment.path);
  CO_TRY(contents, std::move(read));
  const Bytes bytes(contents);
  CO_TRY(header, decode_segment_header(segment.path, options_.log, bytes));
  const bool joins = replay.next_index == 0 || (header.first_index == replay.next_index &&
                                                header.previous_crc32c == replay.previous_crc);
  if (header.first_index != segment.first_index || !joins) {
    co_return corrupt(fmt::format("log segment {}: does not continue the one before it, which "
                                  "ends before command {}",
                                  segment.path, replay.next_index));
  }
  const SegmentScan scan = scan_segment(header, bytes);
  const u64 next_index = header.first_index + scan.records.size();
  if (scan.damaged || (!last && !scan.clean_end)) {
    REACHED("master log: damage found");
    co_return corrupt(fmt::format("log segment {}: command {} at offset {} is damaged, and what "
                                  "follows proves that it was durable; restore this file",
                                  segment.path, next_index, scan.end));
  }
  if (last) {
    auto repaired = co_await repair_last(scan, bytes);
    CO_TRY_VOID(std::move(repaired));
  }
  segments_[place].bytes = scan.end;
  for (const Record& record : scan.records) {
    if (record.header.index > replay.applied) {
      std::string command(record.command);
      auto applied = co_await consumer_->apply(record.header.index, std::move(command));
      CO_TRY_VOID(std::move(applied));
      co_await yield_if_expired();
    }
  }
  replay.next_index = next_index;
  replay.previous_crc =
      scan.records.empty() ? header.previous_crc32c : scan.records.back().header.crc32c;
  co_return ok_status();
}

// Makes the last segment end where its records do, and its last write durable for certain.
Task<Status> LocalLog::repair_last(const SegmentScan& scan, Bytes bytes) {
  CO_TRY_VOID(open_last());
  prepared_ = bytes.size();
  if (!scan.clean_end) {
    REACHED("master log: torn tail cut");
    LOG_WARN("{}: the {} bytes from offset {} on are what a crash left of a write that was never "
             "acknowledged; they are cut off",
             segments_.back().path, bytes.size() - scan.end, scan.end);
    CO_TRY_VOID(file_->resize(scan.end));
    prepared_ = scan.end;
  }
  u64 from = scan.end;
  if (!scan.records.empty()) {
    const u64 durable = scan.records.back().header.durable_index;
    for (auto it = scan.records.rbegin();
         it != scan.records.rend() && it->header.index > durable; ++it) {
      from = it->offset;
    }
  }
  auto written = co_await write_all(from, bytes.subspan(from, scan.end - from));
  CO_TRY_VOID(std::move(written));
  const i64 flushed = co_await async_flush(*file_);
  if (flushed < 0) {
    co_return env::error_from_errno(static_cast<int>(-flushed), segments_.back().path);
  }
  co_return ok_status();
}

Status LocalLog::open_last() {
  TRY(file, reactor_.env().files().open(segments_.back().path, {}));
  file_ = std::move(file);
  return ok_status();
}

// The name and header of a new segment are durable before anything is written to it. After an error
// nothing can be written until the same call, for the same segment, succeeds.
Status LocalLog::add_segment() {
  const u64 first = committed_ + 1;
  const std::string path = options_.directory + "/" + segment_name(first);
  const std::string header = encode_segment_header(options_.log, first, last_crc_);
  TRY_VOID(reactor_.env().files().replace_file(path, header));
  TRY(file, reactor_.env().files().open(path, {}));
  file_ = std::move(file);
  segments_.push_back({.first_index = first, .path = path, .bytes = header.size()});
  prepared_ = header.size();
  return ok_status();
}

// ---- proposals ----

Task<Result<u64>> LocalLog::propose(std::string command, Instant deadline) {
  CHECK(opened_);
  if (broken_) {
    co_return Error(Code::kIoError, std::string(broken_->context()));
  }
  if (closing_) {
    co_return Error(Code::kClosed, "the log is being closed");
  }
  if (command.size() > kCommandBytesMax) {
    co_return Error(Code::kTooLarge, fmt::format("a command of {} bytes; {} are possible",
                                                 command.size(), kCommandBytesMax));
  }
  if (queued_bytes_ + command.size() > options_.queued_bytes_max) {
    REACHED("master log: queue full");
    co_return Error(Code::kBusy, "too much waits to be written to the log");
  }
  queued_bytes_ += command.size();
  ++counters_.proposals;
  const auto proposal = std::make_shared<Proposal>();
  proposal->command = std::move(command);
  queue_.push_back(proposal);
  queue_grew_.wake_one();
  const bool done = co_await proposal->done.wait(deadline);
  if (!done) {
    proposal->withdrawn = true;
    co_return Error(proposal->writing ? Code::kUnknownOutcome : Code::kTimeout,
                    "the log took too long");
  }
  if (proposal->error) {
    co_return std::move(*proposal->error);
  }
  co_return proposal->index;
}

Task<Status> LocalLog::read_barrier(Instant) {
  // The only copy: what is committed anywhere is committed here.
  co_return broken_ ? Status(*broken_) : ok_status();
}

LocalLog::Batch LocalLog::take_batch() {
  Batch batch;
  u64 bytes = 0;
  while (!queue_.empty() && (batch.empty() || bytes < options_.write_bytes_max)) {
    std::shared_ptr<Proposal> next = std::move(queue_.front());
    queue_.pop_front();
    if (next->withdrawn) {
      queued_bytes_ -= next->command.size();
      continue;
    }
    next->writing = true;
    bytes += next->command.size() + sizeof(RecordHeader);
    batch.push_back(std::move(next));
  }
  return batch;
}

Task<void> LocalLog::write_loop() {
  while (!broken_) {
    while (queue_.empty() && !closing_ && !broken_) {
      co_await queue_grew_.wait();
    }
    if (closing_ || broken_) {
      break;
    }
    const Batch batch = take_batch();
    if (!batch.empty()) {
      const Status written = co_await write_batch(batch);
      settle(batch, written);
    }
  }
  fail_queue();
  writer_gone_ = true;
  deliveries_grew_.wake_all();
  prepare_due_.wake_all();
}

Task<Status> LocalLog::write_batch(const Batch& batch) {
  if (segments_.back().bytes >= options_.segment_bytes) {
    co_await wait_prepared();
    CO_TRY_VOID(add_segment());
  }
  buffer_.clear();
  u64 index = committed_;
  u32 crc = last_crc_;
  for (const auto& proposal : batch) {
    proposal->index = ++index;
    crc = append_record(buffer_, index, committed_, crc, proposal->command);
  }
  const u64 offset = segments_.back().bytes;
  const u64 end = offset + buffer_.size();
  if (end > prepared_) {
    co_await wait_prepared();
    prepared_ = std::max(prepared_, end);
  }
  prepare_due_.wake_all();
  ++counters_.writes;
  auto written = co_await write_all(offset, as_bytes_of(std::string_view(buffer_)));
  if (written.ok() && !broken_) {
    counters_.bytes_written += buffer_.size();
    segments_.back().bytes = end;
    committed_ = index;
    last_crc_ = crc;
    co_return written;
  }
  if (written.code() == Code::kNoSpace && !broken_) {
    auto cut = co_await cut_back();
    if (cut.ok()) {
      REACHED("master log: disk full, write cut back");
      co_return written;
    }
    written = std::move(cut);
  }
  if (!broken_) {
    break_log(written.error());
  }
  co_return Error(Code::kUnknownOutcome, std::string(broken_->context()));
}

void LocalLog::break_log(const Error& cause) {
  broken_ = Error(Code::kIoError,
                  fmt::format("the log cannot be written any more ({}); the master takes no "
                              "changes until it is restarted on a sound disk",
                              cause.message()));
  LOG_ERROR("{}", broken_->context());
}

// Durable when it returns.
Task<Status> LocalLog::write_all(u64 offset, Bytes bytes) {
  while (!bytes.empty()) {
    const i64 wrote = co_await async_write(*file_, offset, bytes, env::Durability::durable_write);
    if (wrote <= 0) {
      co_return env::error_from_errno(wrote == 0 ? ENOSPC : static_cast<int>(-wrote),
                                      segments_.back().path);
    }
    offset += static_cast<u64>(wrote);
    bytes = bytes.subspan(static_cast<size_t>(wrote));
  }
  co_return ok_status();
}

Task<Status> LocalLog::cut_back() {
  co_await wait_prepared();
  CO_TRY_VOID(file_->resize(segments_.back().bytes));
  prepared_ = segments_.back().bytes;
  const i64 flushed = co_await async_flush(*file_);
  if (flushed < 0) {
    co_return env::error_from_errno(static_cast<int>(-flushed), segments_.back().path);
  }
  co_return ok_status();
}

Task<void> LocalLog::wait_prepared() {
  while (preparing_) {
    co_await prepare_ended_.wait();
  }
}

// Zeroes ahead of the records. Want of space is no matter here: the records themselves will tell.
Task<void> LocalLog::prepare_loop() {
  constexpr u64 kPiece = 256 * kKiB;
  const std::vector<std::byte> zeroes(kPiece);
  while (!writer_gone_ && !broken_) {
    const u64 wanted = std::min(segments_.back().bytes + options_.prepared_ahead,
                                options_.segment_bytes);
    if (options_.prepared_ahead == 0 || prepared_ >= wanted) {
      co_await prepare_due_.wait();
      continue;
    }
    const u64 size = std::min(kPiece, options_.segment_bytes - prepared_);
    const u64 from = prepared_;
    preparing_ = true;
    const Status written = co_await write_all(from, Bytes(zeroes).first(size));
    preparing_ = false;
    if (written.ok()) {
      prepared_ = from + size;
    } else if (written.code() != Code::kNoSpace && !broken_) {
      // The failure could be that of a record's write: the system reports it to one of the two.
      break_log(written.error());
    }
    prepare_ended_.wake_all();
    if (!written.ok()) {
      co_await prepare_due_.wait();
    }
  }
  queue_grew_.wake_all();
}

void LocalLog::settle(const Batch& batch, const Status& written) {
  for (const auto& proposal : batch) {
    if (written.ok()) {
      deliveries_.push_back(proposal);
    } else {
      queued_bytes_ -= proposal->command.size();
      proposal->error = written.error();
    }
    proposal->done.set();
  }
  deliveries_grew_.wake_all();
}

void LocalLog::fail_queue() {
  for (const auto& proposal : queue_) {
    queued_bytes_ -= proposal->command.size();
    proposal->error = broken_ ? Error(Code::kIoError, std::string(broken_->context()))
                              : Error(Code::kClosed, "the log is being closed");
    proposal->done.set();
  }
  queue_.clear();
}

Task<void> LocalLog::deliver_loop() {
  for (;;) {
    while (deliveries_.empty() && !writer_gone_) {
      co_await deliveries_grew_.wait();
    }
    if (deliveries_.empty()) {
      co_return;
    }
    const std::shared_ptr<Proposal> next = std::move(deliveries_.front());
    deliveries_.pop_front();
    queued_bytes_ -= next->command.size();
    auto applied = co_await consumer_->apply(next->index, std::move(next->command));
    if (!applied.ok()) {
      broken_ = std::move(applied).error();
      deliveries_.clear();
      queue_grew_.wake_all();
      co_return;
    }
    co_await yield_if_expired();
  }
}

Status LocalLog::truncate_prefix(u64 index) {
  while (segments_.size() > 1 && segments_[1].first_index <= index + 1) {
    TRY_VOID(reactor_.env().files().remove(segments_.front().path));
    segments_.pop_front();
    ++counters_.segments_removed;
  }
  return ok_status();
}

Task<void> LocalLog::stop() {
  closing_ = true;
  queue_grew_.wake_all();
  co_await gate_.close();
}

}  // namespace pangu::master
