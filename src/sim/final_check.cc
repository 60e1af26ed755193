#include "sim/final_check.h"

#include <fmt/format.h>

#include "base/reached.h"

namespace pangu::sim {

namespace {

// By then whatever faults left behind (suspicions, old connections, pauses between attempts) is
// over.
constexpr Duration kPatience = seconds(60);
constexpr Duration kAgain = milliseconds(200);
constexpr u64 kPiece = 300'000;

bool may_pass(Code code) {
  return code == Code::kUnavailable || code == Code::kUndecidable || code == Code::kTimeout ||
         code == Code::kUnknownOutcome || code == Code::kNoPlacement || code == Code::kBusy ||
         code == Code::kWrongEpoch || code == Code::kFenced;
}

// Devices that may be full, and then stay full: nobody removes anything before the checks are done.
bool small_devices(const Actor& actor) {
  return actor.stage.swarm.cluster.device_bytes < 64 * kMiB;
}

// Reads [0, length) in pieces; each goes to `file`'s oracle. An error is the judge's business
// already.
Task<Status> read_whole(Actor& actor, StreamFile& file, u64 length, bool final) {
  auto reader = co_await actor.client.open_for_read(file.path);
  if (!reader.ok()) {
    co_return std::move(reader).error();
  }
  auto told = co_await (*reader)->length();
  if (!told.ok()) {
    co_return std::move(told).error();
  }
  if (*told != length) {
    co_return Error(Code::kInternal, fmt::format("its length is {}, not {}", *told, length));
  }
  std::vector<std::byte> bytes(std::min(length, kPiece));
  for (u64 offset = 0; offset < length;) {
    const u64 size = std::min(kPiece, length - offset);
    auto count = co_await (*reader)->read(offset, MutableBytes(bytes).first(size));
    if (!count.ok()) {
      co_return std::move(count).error();
    }
    if (*count != size) {
      co_return Error(Code::kInternal,
                      fmt::format("{} of {} bytes came at {}", *count, size, offset));
    }
    const Bytes piece = Bytes(bytes).first(size);
    CO_TRY_VOID(final ? file.oracle.final_piece(offset, piece) : file.oracle.read(offset, piece));
    offset += size;
  }
  if (final) {
    co_return file.oracle.finish(length);
  }
  co_return ok_status();
}

// Appends a few bytes and settles the file; returns its length.
Task<Result<u64>> append_and_close(Actor& actor, StreamFile& file,
                                   std::unique_ptr<client::Writer> writer) {
  const u32 epoch = writer->epoch().number;
  for (int i = 0; i < 2; ++i) {
    std::vector<std::byte> bytes(actor.prng.between(1, 9000));
    const u32 number = file.oracle.issue(epoch, bytes.size());
    file.oracle.fill(epoch, number, bytes);
    auto done = co_await writer->append(bytes);
    if (done.code() == Code::kUnknownOutcome) {
      CO_TRY_VOID(file.oracle.unknown(epoch, number));
    }
    if (!done.ok()) {
      co_return std::move(done).error();
    }
    CO_TRY_VOID(file.oracle.acknowledged(epoch, number, *done));
  }
  const Status closed = co_await writer->close();
  if (!closed.ok() && writer->length() == writer->end()) {
    co_return closed.error();
  }
  co_return writer->length();
}

// One attempt: the file's length when it is settled.
Task<Result<u64>> settle(Actor& actor, StreamFile& file) {
  const client::OpenOptions options{.create = !file.mortal, .file = file.options};
  auto opened = co_await actor.client.open_for_append(file.path, options);
  if (opened.code() == Code::kReadOnly && file.seal_begun) {
    auto info = co_await actor.client.stat(file.path);
    if (!info.ok()) {
      co_return std::move(info).error();
    }
    if (!info->sealed || (file.sealed && info->length != file.sealed_length)) {
      co_return Error(Code::kInternal, fmt::format("sealed at {}, it was {} when it was sealed",
                                                   info->length, file.sealed_length));
    }
    co_return info->length;
  }
  if (!opened.ok()) {
    co_return std::move(opened).error();
  }
  CO_TRY_VOID(file.oracle.session_opened((*opened)->epoch().number, (*opened)->end()));
  auto length = co_await append_and_close(actor, file, std::move(*opened));
  co_return length;
}

Task<void> check_file(Actor& actor, StreamFile& file) {
  const Instant deadline = actor.now() + kPatience;
  for (;;) {
    auto length = co_await settle(actor, file);
    if (length.code() == Code::kNotFound && file.remove_begun) {
      co_return;
    }
    if (length.ok()) {
      file.sealed_length = *length;  // it stays so
      const Status read = co_await read_whole(actor, file, *length, true);
      actor.judge().check(read, file.path + " at the end");
      co_return;
    }
    if (actor.now() >= deadline && small_devices(actor)) {
      REACHED("sim: a file could not be settled for want of space");
      file.unsettled = true;
      co_return;
    }
    if (!may_pass(length.code()) || actor.now() >= deadline) {
      actor.judge().fail(fmt::format("{} at the end: {}", file.path, length.error().message()));
      co_return;
    }
    co_await sleep_for(kAgain);
  }
}

}  // namespace

Task<void> check_cluster_info(Actor& actor, u32 chunkservers) {
  const Instant deadline = actor.now() + kPatience;
  for (;;) {
    auto info = co_await actor.client.cluster_info();
    std::string trouble = info.ok() ? "" : info.error().message();
    if (info.ok()) {
      u32 alive = 0;
      for (const client::ServerSummary& server : info->servers) {
        alive += server.state == "alive" ? 1 : 0;
      }
      if (alive == chunkservers && info->servers.size() == chunkservers) {
        co_return;
      }
      trouble = fmt::format("{} of {} servers are alive, there are {}", alive, info->servers.size(),
                            chunkservers);
    }
    if (actor.now() >= deadline) {
      actor.judge().fail("cluster_info at the end: " + trouble);
      co_return;
    }
    co_await sleep_for(kAgain);
  }
}

Task<void> check_files(Actor& actor, StreamWorkload& workload) {
  for (StreamFile& file : workload.files()) {
    if (!actor.judge().failed()) {
      co_await check_file(actor, file);
    }
  }
}

Task<void> check_contents(Actor& actor, StreamWorkload& workload) {
  for (StreamFile& file : workload.files()) {
    if (file.unsettled) {
      continue;
    }
    const Status read = co_await read_whole(actor, file, file.sealed_length, false);
    if (read.code() != Code::kNotFound || !file.remove_begun) {
      actor.judge().check(read, file.path + " read again");
    }
  }
}

Task<void> remove_everything(Actor& actor) {
  auto listed = co_await actor.client.list("/");
  if (!listed.ok()) {
    actor.judge().fail("list / at the end: " + listed.error().message());
    co_return;
  }
  for (const client::Entry& entry : listed->entries) {
    auto removed = co_await actor.client.remove("/" + entry.name, true);
    if (!removed.ok()) {
      actor.judge().fail(
          fmt::format("remove /{} at the end: {}", entry.name, removed.error().message()));
    }
  }
}

}  // namespace pangu::sim
