#include <algorithm>
#include <fmt/format.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/reached.h"
#include "raft/driver/host.h"
#include "runtime/await.h"

// Pulling a snapshot from another member and putting it in the place of log and state.
//
// The two are replaced one after the other: note_install() durably remembers the snapshot's place,
// the sink commits, the log's write follows, the note goes. After a crash in between open_group()
// finds the note and a state machine that is at the snapshot, and finishes the log; with the old
// state machine the note means nothing, because the log cannot have been touched.
namespace pangu::raft {
namespace {

constexpr Duration kPause = milliseconds(100);
constexpr Duration kCallTimeout = seconds(3);

}  // namespace

Task<void> Replica::pull(SnapshotFetch fetch) {
  const SnapshotMeta meta = fetch.meta;
  if (installing_) {
    REACHED("raft host: a snapshot was offered while one waits to be installed");
    core_->on_snapshot_failed(meta);  // the sink is one's; the leader offers it again
    host_.mark_dirty(*this);
    co_return;
  }
  auto sink = co_await pull_all(std::move(fetch));
  if (!usable().ok()) {
    co_return;
  }
  if (!sink.ok()) {
    REACHED("raft host: a snapshot could not be pulled");
    LOG_WARN("group {}: snapshot {} could not be pulled: {}", group_.value(), to_string(meta.id),
             sink.error().message());
    core_->on_snapshot_failed(meta);
    host_.mark_dirty(*this);
    co_return;
  }
  const LogId before = core_->log().base();
  pulled_ = Pulled{meta, std::move(*sink)};
  core_->on_snapshot_fetched(meta);
  installing_ = core_->log().base() != before;
  if (!installing_) {
    pulled_.reset();  // the log has come as far meanwhile
  }
  host_.mark_dirty(*this);
}

Task<Result<std::unique_ptr<SnapshotSink>>> Replica::pull_all(SnapshotFetch fetch) {
  const SnapshotBegin begin{host_.transport_.envelope_to(fetch.from), group_, fetch.meta.id.index};
  auto manifest = co_await ask(fetch.from, wire::Method::raft_snapshot_begin, encode(begin));
  CO_TRY(bytes, std::move(manifest));
  auto decoded = decode_image(as_bytes_of(std::string_view(bytes)));
  CO_TRY(image, std::move(decoded));
  if (image.index != fetch.meta.id.index) {
    co_return Error(Code::kCorrupt, fmt::format("the manifest is of {}", image.index));
  }
  CO_TRY_VOID(usable());
  auto begun = co_await machine_.begin_install(image);
  CO_TRY(sink, std::move(begun));
  const std::vector<u64> have = sink->have();
  if (have.size() != image.pieces.size()) {
    co_return Error(Code::kInternal, "the sink has other pieces than the manifest");
  }
  for (u32 piece = 0; piece < image.pieces.size(); ++piece) {
    auto pulled = co_await pull_piece(fetch, image, piece, *sink);
    CO_TRY_VOID(std::move(pulled));
  }
  co_return std::move(sink);
}

Task<Status> Replica::pull_piece(const SnapshotFetch& fetch, const SnapshotImage& image, u32 piece,
                                 SnapshotSink& sink) {
  const SnapshotPiece& wanted = image.pieces[piece];
  const u64 begin = std::min(sink.have()[piece], wanted.size);
  if (begin > 0) {
    REACHED("raft host: a snapshot is pulled on from where it broke off");
  }
  u64 offset = begin;
  u32 crc = 0;
  while (offset < wanted.size) {
    SnapshotRead read;
    read.envelope = host_.transport_.envelope_to(fetch.from);
    read.group = group_;
    read.index = image.index;
    read.piece = piece;
    read.offset = offset;
    read.length = static_cast<u32>(std::min<u64>(kSnapshotReadBytesMax, wanted.size - offset));
    auto answer = co_await ask(fetch.from, wire::Method::raft_snapshot_piece, encode(read));
    CO_TRY(bytes, std::move(answer));
    if (bytes.size() != read.length) {
      co_return Error(Code::kCorrupt, fmt::format("{} bytes came where {} were asked for",
                                                  bytes.size(), read.length));
    }
    CO_TRY_VOID(usable());
    crc = crc32c_extend(crc, as_bytes_of(std::string_view(bytes)));
    auto written = co_await sink.write(piece, offset, std::move(bytes));
    CO_TRY_VOID(std::move(written));
    offset += read.length;
  }
  // The sink looks at the whole before it commits; here only what one transfer has brought.
  if (begin == 0 && crc != wanted.crc32c) {
    co_return Error(Code::kCorrupt, fmt::format("piece '{}' came damaged", wanted.name));
  }
  co_return ok_status();
}

// One question, again and again while the other side cannot be reached.
Task<Result<std::string>> Replica::ask(NodeId from, wire::Method method, std::string body) {
  const Instant give_up = host_.reactor_.now() + host_.options_.snapshot_patience;
  for (;;) {
    CO_TRY_VOID(usable());
    const auto to = host_.transport_.address(from);
    if (!to) {
      co_return Error(Code::kConnectFailed,
                      fmt::format("the address of member {} is not known", from.value()));
    }
    rpc::CallOptions options;
    options.task_class = TaskClass::repair;
    options.deadline = host_.reactor_.now() + kCallTimeout;
    auto response = co_await host_.calls_.call(*to, method, body, options);
    if (response.ok() && response->code == Code::kOk) {
      co_return std::string(as_text(response->body.bytes()));
    }
    Error error = response.ok() ? response->error() : std::move(response).error();
    const bool hopeless = error.code() == Code::kNotFound || error.code() == Code::kClosed ||
                          error.code() == Code::kCorrupt ||
                          error.code() == Code::kInvalidArgument;
    if (hopeless || host_.reactor_.now() >= give_up) {
      co_return error;
    }
    REACHED("raft host: a question about a snapshot is asked again");
    co_await closing_.wait(host_.reactor_.now() + kPause);
  }
}

// ---- putting it in place ----

Task<Status> Replica::install(Pulled& pulled) {
  co_await machine_lock_.take(1);
  const Status done = co_await replace_state(pulled);
  if (done.ok()) {
    installing_ = false;
    applied_ = std::max(applied_, pulled.meta.id.index);
    apply_to_ = std::max(apply_to_, applied_);
    settle(pulled.meta.id);
    applied_changed_.wake_all();
  }
  machine_lock_.give(1);
  co_return done;
}

// There is no way back: the core has left the old log. A full disk is waited for.
Task<Status> Replica::replace_state(Pulled& pulled) {
  for (;;) {
    Status done = host_.note_install(group_, pulled.meta);
    if (done.ok()) {
      done = co_await pulled.sink->commit();
    }
    if (done.code() != Code::kNoSpace) {
      co_return done;
    }
    REACHED("raft host: no room to install a snapshot");
    co_await closing_.wait(host_.reactor_.now() + host_.options_.no_space_retry);
    CO_TRY_VOID(usable());
  }
}

std::string Host::install_path(GroupId group) const {
  return fmt::format("{}/install-{:016x}", options_.directory, group.value());
}

Status Host::note_install(GroupId group, const SnapshotMeta& meta) {
  if (options_.directory.empty()) {
    return ok_status();
  }
  std::string note = encode_meta(meta);
  const u32 crc = crc32c(as_bytes_of(std::string_view(note)));
  note.append(4, '\0');
  store_le(note.data() + note.size() - 4, crc);
  return reactor_.env().files().replace_file(install_path(group), note);
}

void Host::forget_install(GroupId group) {
  if (options_.directory.empty()) {
    return;
  }
  env::FileSystem& files = reactor_.env().files();
  if (files.exists(install_path(group))) {
    const Status removed = files.remove(install_path(group));
    if (!removed.ok()) {
      LOG_WARN("group {}: {}", group.value(), removed.error().message());  // it means nothing
    }
  }
}

Task<Status> Host::finish_install(GroupId group, LogStore::Recovered& found,
                                  StateMachine& machine) {
  env::FileSystem& files = reactor_.env().files();
  if (options_.directory.empty() || !files.exists(install_path(group))) {
    co_return ok_status();
  }
  auto read = files.read_file(install_path(group));
  CO_TRY(note, std::move(read));
  const Bytes bytes = as_bytes_of(std::string_view(note));
  if (bytes.size() < 4 ||
      load_le<u32>(bytes.data() + bytes.size() - 4) != crc32c(bytes.first(bytes.size() - 4))) {
    co_return Error(Code::kCorrupt,
                    fmt::format("{}: damaged; remove this member from group {} and add it anew",
                                install_path(group), group.value()));
  }
  auto decoded = decode_meta(bytes.first(bytes.size() - 4));
  CO_TRY(meta, std::move(decoded));
  const LogSummary& log = found.log;
  const bool in_log = log.base().index >= meta.id.index || log.holds(meta.id);
  if (!in_log && machine.applied() >= meta.id.index) {
    REACHED("raft host: a crash between the state and the log of a snapshot");
    HardState& hard = found.hard_state;
    if (meta.id.term > hard.term) {
      hard.term = meta.id.term;
      hard.vote = kNobody;
    }
    hard.commit = std::max(hard.commit, meta.id.index);
    LogWrite write;
    write.group = group;
    write.install = meta;
    write.hard_state = hard;
    auto written = co_await log_->write(std::move(write));
    CO_TRY_VOID(std::move(written));
    found.log = LogSummary(meta);
  }
  forget_install(group);
  co_return ok_status();
}

}  // namespace pangu::raft
