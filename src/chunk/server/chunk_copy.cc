#include "chunk/server/chunk_copy.h"

#include <algorithm>
#include <fmt/format.h>

#include "base/log.h"
#include "base/reached.h"
#include "runtime/await.h"
#include "wire/unit.h"

namespace pangu::chunk {

namespace {
constexpr int kAttempts = 3;     // from the start
constexpr int kFetchTries = 4;   // of one piece
constexpr Duration kFetchPause = milliseconds(100);
constexpr Duration kFetchTime = seconds(10);
constexpr Duration kRoomTime = seconds(2);  // between two looks whether it is still wanted
// So that the units of one read fit into one frame even when they begin inside a unit.
constexpr u32 kPieceBytesMax = (wire::kRunUnitsMax - 1) * wire::kUnitDataMax;
constexpr u32 kPieceBytesMin = 16 * wire::kUnitDataMax;

// What the device's answer means to the leader.
Error target_error(Code code, const Uuid& device) {
  const std::string name = fmt::format("device {}", to_string(device));
  switch (code) {
    case Code::kNoSpace:
      return Error(Code::kNoSpace, name);
    case Code::kAlreadyExists:
      return Error(Code::kAlreadyExists, "a replica that is not finalized stands there");
    case Code::kClosed:
      return Error(Code::kCancelled, "the server is stopping");
    case Code::kSealed:
    case Code::kStale:
    case Code::kGap:
    case Code::kShort:
      return Error(Code::kCancelled, "the chunk was deleted here meanwhile");
    default:
      return Error(Code::kDeviceFailed, fmt::format("{}: {}", name, code_text(code)));
  }
}

bool worth_another_try(Code code) {
  switch (code) {
    case Code::kBusy:
    case Code::kTimeout:
    case Code::kConnectionLost:
    case Code::kConnectFailed:
    case Code::kCorrupt:
      return true;
    default:
      return false;
  }
}

// What the source's answer means to the leader.
Error source_error(const Error& error, ServerId source) {
  const std::string text = fmt::format("source, server {}: {}", source.number, error.message());
  switch (error.code()) {
    case Code::kCorrupt:
    case Code::kShort:
    case Code::kNotHere:
      return Error(error.code(), text);
    default:
      return Error(Code::kUnavailable, text);
  }
}
}  // namespace

Task<Status> ChunkCopy::run() {
  for (int i = 0; i < kAttempts; ++i) {
    CO_TRY_VOID(check());
    auto next = co_await attempt();
    CO_TRY_VOID(next);
    if (*next == Next::done) {
      co_return ok_status();
    }
    REACHED("chunkserver: a copy begins again");
  }
  co_return Error(Code::kAlreadyExists, "what an earlier attempt left there cannot be removed");
}

Status ChunkCopy::check() const {
  if (stop_.stopping) {
    return Error(Code::kCancelled, "the server is stopping");
  }
  TRY_VOID(terms_.check(order_.group, order_.term));
  if (reactor_.now() >= order_.deadline) {
    return Error(Code::kTimeout, fmt::format("{} of {} bytes are there", offset_, order_.length));
  }
  return ok_status();
}

// A first guess, so that nothing is begun in vain.
bool ChunkCopy::has_room() const {
  const SpaceInfo space = store_.space();
  return !space.full &&
         space.free + space.prepared >= (u64{wire::units_for(order_.length)} + 1) * wire::kUnitBytes;
}

Task<Result<ChunkCopy::Next>> ChunkCopy::attempt() {
  if (!store_.stat(order_.chunk).ok() && !has_room()) {
    co_return target_error(Code::kNoSpace, order_.device);
  }
  const CopyStart found = co_await store_.begin_copy(order_.chunk);
  if (found.code == Code::kSealed) {
    if (found.damaged || found.length != order_.length || found.base != order_.base) {
      co_return Error(Code::kAlreadyExists,
                      fmt::format("a finalized replica stands there: {} bytes at {}{}",
                                  found.length, found.base, found.damaged ? ", damaged" : ""));
    }
    co_return co_await finish();
  }
  if (found.code != Code::kOk) {
    co_return target_error(found.code, order_.device);
  }
  offset_ = found.length;
  unit_ = found.unit_count;
  remainder_ = offset_ > 0;
  epoch_.reset();
  if (remainder_) {
    epoch_ = found.owner_epoch;
  }
  if (found.damaged || (remainder_ && found.base != order_.base)) {
    CO_TRY_VOID(co_await discard());
    co_return Next::again;
  }
  resumed_ = resumed_ || remainder_;
  auto filled = co_await fill();
  if (!filled.ok() || *filled == Next::again) {
    co_return filled;
  }
  co_return co_await finish();
}

Task<Status> ChunkCopy::discard() {
  const LengthOutcome removed = co_await store_.remove(order_.chunk, order_.version);
  if (removed.code != Code::kOk) {
    co_return target_error(removed.code, order_.device);
  }
  co_return ok_status();
}

Task<Result<ChunkCopy::Next>> ChunkCopy::fill() {
  while (offset_ < order_.length) {
    CO_TRY_VOID(co_await keep_pace());
    auto piece = co_await fetch();
    if (!piece.ok() && piece.code() == Code::kConflict) {
      // Cut elsewhere than the source's, or of another owner: no prefix of the same units.
      REACHED("chunkserver: what was left of a copy does not fit its source");
      CO_TRY_VOID(co_await discard());
      co_return Next::again;
    }
    CO_TRY_VOID(piece);
    Code code = Code::kBusy;
    while (code == Code::kBusy) {
      CO_TRY_VOID(check());
      code = co_await write(*piece);
    }
    if (code == Code::kNoSpace) {
      Status discarded = co_await discard();
      CO_TRY_VOID(discarded);
      co_return target_error(code, order_.device);
    }
    if (code == Code::kCorrupt || code == Code::kConflict) {
      CO_TRY_VOID(co_await discard());
      co_return Next::again;
    }
    if (code == Code::kStale && offset_ == 0) {
      // Its tombstone was forgotten before the first unit came.
      co_return Next::again;
    }
    if (code != Code::kOk) {
      co_return target_error(code, order_.device);
    }
  }
  co_return Next::done;
}

Task<Result<ChunkCopy::Next>> ChunkCopy::finish() {
  const LengthOutcome out =
      co_await store_.finalize(order_.chunk, order_.length, order_.version);
  if (out.code == Code::kCorrupt) {
    CO_TRY_VOID(co_await discard());
    co_return Next::again;
  }
  if (out.code != Code::kOk) {
    co_return target_error(out.code, order_.device);
  }
  co_return Next::done;
}

Task<Status> ChunkCopy::pause(Instant until) {
  while (reactor_.now() < until) {
    CO_TRY_VOID(check());
    co_await stop_.wake.wait(std::min(until, order_.deadline));
  }
  co_return check();
}

Task<Status> ChunkCopy::keep_pace() {
  Status status = co_await pause(next_piece_);
  co_return status;
}

Task<Result<ChunkCopy::Piece>> ChunkCopy::fetch() {
  for (int i = 0;; ++i) {
    auto piece = co_await fetch_once();
    if (piece.ok() || piece.code() == Code::kConflict) {
      co_return piece;
    }
    CO_TRY_VOID(check());
    if (!worth_another_try(piece.code()) || i + 1 == kFetchTries) {
      co_return source_error(piece.error(), order_.source);
    }
    CO_TRY_VOID(co_await pause(reactor_.now() + kFetchPause * (i64{1} << i)));
  }
}

Task<Result<ChunkCopy::Piece>> ChunkCopy::fetch_once() {
  u64 most = kPieceBytesMax;
  if (order_.bytes_per_second > 0) {
    most = std::clamp<u64>(order_.bytes_per_second / 8, kPieceBytesMin, kPieceBytesMax);
  }
  const wire::ReadRequest request{
      .chunk = wire::to_wire(order_.chunk),
      .device = order_.source_device,
      .offset = offset_,
      .length = static_cast<u32>(std::min<u64>(order_.length - offset_, most)),
      .settled_length = order_.length,
      .epoch = 0,
      .known_committed = 0,
      .flags = 0,
      .reserved = {}};
  const rpc::CallOptions options{.task_class = TaskClass::background,
                                 .deadline = std::min(order_.deadline, reactor_.now() + kFetchTime)};
  auto response =
      co_await source_.call(wire::Method::read, as_bytes_of(request), rpc::Payload{}, options);
  if (!response.ok()) {
    co_return std::move(response).error();
  }
  bytes_ += response->payload.size();
  if (order_.bytes_per_second > 0) {
    const u64 bytes = response->payload.size();
    const Instant from = std::max(next_piece_, reactor_.now());
    next_piece_ = from + nanoseconds(static_cast<i64>(
                             std::min<double>(static_cast<double>(bytes) * 1e9 /
                                                  static_cast<double>(order_.bytes_per_second),
                                              1e15)));
  }
  if (source_.server() != order_.source) {
    co_return Error(Code::kUnavailable,
                    fmt::format("server {} answers at its address", source_.server().number));
  }
  co_return check_reply(*response);
}

Result<ChunkCopy::Piece> ChunkCopy::check_reply(const rpc::Response& response) const {
  const auto body = wire::read_struct<wire::ReadReply>(response.body.bytes());
  if (response.code != Code::kOk) {
    return Error(response.code, body.ok() ? std::string() : std::string(response.text()));
  }
  if (!body.ok()) {
    return body.error();
  }
  if (body->readable < order_.length) {
    return Error(Code::kShort, fmt::format("it has {} of {} bytes", body->readable, order_.length));
  }
  if (body->unit_count == 0 || body->unit_count > wire::kRunUnitsMax ||
      response.payload.size() != u64{body->unit_count} * wire::kUnitBytes) {
    return Error(Code::kCorrupt, fmt::format("{} units in {} bytes", body->unit_count,
                                             response.payload.size()));
  }
  if (body->unit_index != unit_ || body->unit_offset != offset_) {
    return Error(remainder_ ? Code::kConflict : Code::kCorrupt,
                 fmt::format("unit {} at {} came, not {} at {}", body->unit_index,
                             body->unit_offset, unit_, offset_));
  }
  Piece out{.units = response.payload,
            .count = body->unit_count,
            .epoch = {wire::footer_of(response.payload.data()).epoch}};
  u64 end = offset_;
  for (u32 i = 0; i < out.count; ++i) {
    const std::byte* unit = out.units.data() + size_t{i} * wire::kUnitBytes;
    const wire::UnitFault fault = wire::check_unit(order_.chunk, unit_ + i, unit);
    if (fault != wire::UnitFault::ok) {
      REACHED("chunkserver: a damaged unit came for a copy");
      return Error(Code::kCorrupt, fmt::format("unit {}: {}", unit_ + i, wire::to_string(fault)));
    }
    const wire::UnitFooter footer = wire::footer_of(unit);
    end += footer.data_len;
    if (footer.end_offset != end || footer.epoch != out.epoch.number) {
      return Error(Code::kCorrupt, fmt::format("unit {} does not join", unit_ + i));
    }
  }
  if (epoch_ && *epoch_ != out.epoch) {
    return Error(remainder_ ? Code::kConflict : Code::kCorrupt, "its units are of another owner");
  }
  out.data_len = static_cast<u32>(end - offset_);
  return out;
}

Task<Code> ChunkCopy::write(Piece piece) {
  AppendArgs args{.chunk = order_.chunk,
                  .epoch = kCopyEpoch,
                  .owner_epoch = piece.epoch,
                  .base = order_.base,
                  .offset = offset_,
                  .data_len = piece.data_len,
                  .unit_index = unit_,
                  .unit_count = piece.count,
                  .creates = offset_ == 0,
                  .recovers = true,
                  // Its last unit may end behind the decided length.
                  .chunk_limit = static_cast<u32>(
                      std::min<u64>(u64{order_.length} + wire::kUnitDataMax, 0xfffffffe)),
                  .deadline = std::min(order_.deadline, reactor_.now() + kRoomTime)};
  const AppendOutcome out = co_await store_.append(std::move(args), std::move(piece.units));
  if (out.code == Code::kOk || out.code == Code::kDuplicate) {
    offset_ += piece.data_len;
    unit_ += piece.count;
    epoch_ = piece.epoch;
    remainder_ = false;
    co_return Code::kOk;
  }
  co_return out.code;
}

}  // namespace pangu::chunk
