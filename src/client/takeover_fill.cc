#include <algorithm>
#include <fmt/format.h>

#include "base/log.h"
#include "base/reached.h"
#include "client/takeover.h"
#include "wire/unit.h"

// Before a takeover publishes, the last chunk must be on copies_min locations (PROTOCOL 25): its
// original units are read from one that has them and written to others with RECOVER_APPEND.
namespace pangu::client {

namespace {
// So that the units of one read fit into one frame even when they begin inside a unit.
constexpr u32 kCopyBytes = (wire::kRunUnitsMax - 1) * wire::kUnitDataMax;
}  // namespace

void Takeover::discard_answer(size_t chunk, size_t replica, std::string why) {
  LOG_INFO("{}: chunk {} on server {}: {}", path_, to_string(place(chunk).id),
           to_string(place(chunk).replicas[replica].location.server), why);
  input_.chunks[chunk].answers[replica] = FenceAnswer{};
  silences_[chunk][replica].why = std::move(why);
  start_fence(chunk, replica);
}

std::optional<size_t> Takeover::choose_source(size_t chunk, u32 length) {
  const auto& answers = input_.chunks[chunk].answers;
  const Instant now = core_.now();
  std::optional<size_t> best;
  i64 best_cost = 0;
  for (size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].kind != AnswerKind::exists || answers[i].length < length) {
      continue;
    }
    const i64 cost = core_.servers.read_cost(place(chunk).replicas[i].location.server, now);
    if (!best || cost < best_cost) {
      best = i;
      best_cost = cost;
    }
  }
  return best;
}

// Who lacks least.
std::optional<size_t> Takeover::choose_target(size_t chunk, u32 length) {
  const auto& answers = input_.chunks[chunk].answers;
  std::optional<size_t> best;
  for (size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].kind == AnswerKind::none || answers[i].length >= length ||
        silences_[chunk][i].unfit) {
      continue;
    }
    if (!best || answers[i].length > answers[*best].length) {
      best = i;
    }
  }
  return best;
}

Task<Result<bool>> Takeover::fill(size_t chunk, u32 length) {
  const u32 needed = place(chunk).copies_min;
  for (;;) {
    CO_TRY_VOID(check_superseded());
    const auto& answers = input_.chunks[chunk].answers;
    const auto holders = std::count_if(answers.begin(), answers.end(), [&](const auto& answer) {
      return answer.kind == AnswerKind::exists && answer.length >= length;
    });
    if (holders >= needed) {
      co_return true;
    }
    const auto source = choose_source(chunk, length);
    const auto target = choose_target(chunk, length);
    if (!source) {
      co_return false;
    }
    if (!target) {
      // The decision stands, but not yet on enough locations: wait for another one to come back.
      if (core_.now() >= deadline_ || core_.stopping) {
        co_return Error(Code::kUndecidable,
                        fmt::format("{}: chunk {} must be on {} servers before it can be settled "
                                    "and is on {}, bring these back: {}",
                                    path_, to_string(place(chunk).id), needed, holders,
                                    silent_locations(chunk)));
      }
      REACHED("client: takeover waits for a place to copy to");
      co_await changed_.wait(deadline_);
      co_return false;  // who answered may have more than was decided on
    }
    auto copied = co_await copy(chunk, *source, *target, length);
    if (!copied.ok() && copied.code() == Code::kFenced) {
      superseded_ = 0;
    } else if (!copied.ok()) {
      co_return false;
    }
  }
}

Task<Result<DataReply<wire::ReadReply>>> Takeover::read_units(size_t chunk, size_t source,
                                                              u32 offset, u32 length) {
  const Location location = place(chunk).replicas[source].location;
  const wire::ReadRequest request{.chunk = wire::to_wire(place(chunk).id),
                                  .device = location.device,
                                  .offset = offset,
                                  .length = std::min(length, kCopyBytes),
                                  .settled_length = wire::kUnsettled,
                                  .epoch = stream_.epoch.number,
                                  .known_committed = 0,
                                  .flags = wire::kReadRecovers,
                                  .reserved = {}};
  const rpc::CallOptions options{
      .task_class = TaskClass::control,
      .deadline = std::min(deadline_, core_.now() + core_.options.read_timeout)};
  co_return co_await core_.call_data<wire::ReadReply>(location.server, wire::Method::read, request,
                                                      options);
}

// The reply holds original units of this chunk from exactly `offset` and `unit_index` on.
Status Takeover::check_units(size_t chunk, const DataReply<wire::ReadReply>& reply, u32 offset,
                             u32 unit_index) const {
  if (reply.code != Code::kOk) {
    return reply.error();
  }
  const wire::ReadReply& body = *reply.body;
  if (body.unit_count == 0 || reply.payload.size() != u64{body.unit_count} * wire::kUnitBytes ||
      body.unit_index != unit_index || body.unit_offset != offset) {
    return Error(Code::kCorrupt, fmt::format("asked for unit {} at offset {}, it sent {} units "
                                             "from {} at offset {}",
                                             unit_index, offset, body.unit_count, body.unit_index,
                                             body.unit_offset));
  }
  u64 end = offset;
  for (u32 i = 0; i < body.unit_count; ++i) {
    const std::byte* unit = reply.payload.data() + u64{i} * wire::kUnitBytes;
    const wire::UnitFault fault = wire::check_unit(place(chunk).id, unit_index + i, unit);
    const wire::UnitFooter footer = wire::footer_of(unit);
    end += footer.data_len;
    if (fault != wire::UnitFault::ok || footer.end_offset != end ||
        footer.epoch != place(chunk).owner.number) {
      return Error(Code::kCorrupt, fmt::format("unit {}: {}", unit_index + i,
                                               fault != wire::UnitFault::ok
                                                   ? wire::to_string(fault)
                                                   : "it does not join the one before it"));
    }
  }
  return ok_status();
}

Task<Status> Takeover::copy(size_t chunk, size_t source, size_t target, u32 length) {
  const u32 start = input_.chunks[chunk].answers[target].length;
  u32 offset = start;
  u32 unit_index = input_.chunks[chunk].answers[target].unit_count;
  REACHED("client: takeover copies to a short replica");
  while (offset < length) {
    auto reply = co_await read_units(chunk, source, offset, length - offset);
    Status read = reply.ok() ? check_units(chunk, *reply, offset, unit_index)
                             : Status(std::move(reply).error());
    if (!read.ok()) {
      if (read.code() != Code::kFenced) {
        discard_answer(chunk, source, "reading its copy: " + read.error().message());
      }
      co_return read;
    }
    const std::byte* last = reply->payload.data() + reply->payload.size() - wire::kUnitBytes;
    const u32 end = wire::footer_of(last).end_offset;
    const u32 count = reply->body->unit_count;
    auto written = co_await write_units(chunk, target, reply->payload, offset, unit_index);
    if (!written.ok()) {
      if (written.code() != Code::kFenced) {
        // What it answered to the fence stays true; a new fence tells how much it has now.
        silences_[chunk][target].unfit = true;
        silences_[chunk][target].why = "copying to it: " + written.error().message();
        start_fence(chunk, target);
      }
      co_return written;
    }
    core_.counters.takeover_copied_bytes += end - offset;
    offset = end;
    unit_index += count;
    FenceAnswer& answer = input_.chunks[chunk].answers[target];
    const FenceAnswer& original = input_.chunks[chunk].answers[source];
    if (original.kind == AnswerKind::exists) {
      answer.base = original.base;
      answer.history = original.history;
    }
    answer.kind = AnswerKind::exists;
    answer.length = std::max(answer.length, offset);
    answer.unit_count = std::max(answer.unit_count, unit_index);
  }
  co_return ok_status();
}

// Splits the units into runs (only the last unit of a run may be partial) and sends them all; the
// connection keeps their order.
Task<Status> Takeover::write_units(size_t chunk, size_t target, Slice units, u32 offset,
                                   u32 unit_index) {
  struct Part {
    u32 first;
    u32 count;
    u32 length;
  };
  std::vector<Part> parts;
  const u32 count = static_cast<u32>(units.size() / wire::kUnitBytes);
  bool joins = false;
  for (u32 i = 0; i < count; ++i) {
    const u32 data = wire::footer_of(units.data() + u64{i} * wire::kUnitBytes).data_len;
    if (!joins) {
      parts.push_back({.first = i, .count = 0, .length = 0});
    }
    ++parts.back().count;
    parts.back().length += data;
    joins = data == wire::kUnitDataMax;
  }
  const auto batch = std::make_shared<Batch>(parts.size());
  for (const Part& part : parts) {
    Slice run =
        units.part(size_t{part.first} * wire::kUnitBytes, size_t{part.count} * wire::kUnitBytes);
    const bool spawned =
        core_.gate.spawn(core_.reactor, "recover append", TaskClass::control,
                         write_run(shared_from_this(), chunk, target, std::move(run), offset,
                                   part.length, unit_index + part.first, batch));
    if (!spawned) {
      batch->finish(Error(Code::kClosed, "the client was stopped"));
    }
    offset += part.length;
  }
  co_return co_await batch->wait();
}

Task<void> Takeover::write_run(std::shared_ptr<Takeover> keep, size_t chunk, size_t target,
                               Slice run, u32 offset, u32 length, u32 unit_index,
                               std::shared_ptr<Batch> batch) {
  const u32 count = static_cast<u32>(run.size() / wire::kUnitBytes);
  const std::string body = keep->recover_body(chunk, target, offset, length, unit_index, count);
  const wire::WirePieces pieces = wire::wire_pieces_of(run.bytes());
  rpc::Payload payload{.owner = run, .pieces = pieces.pieces, .count = pieces.count};
  const rpc::CallOptions options{
      .task_class = TaskClass::control,
      .deadline = std::min(deadline_, core_.now() + core_.options.append_timeout)};
  auto response = co_await core_.call_server(
      place(chunk).replicas[target].location.server, wire::Method::append,
      as_bytes_of(std::string_view(body)), std::move(payload), options);
  auto reply = ClientCore::read_reply<wire::AppendReply>(std::move(response));
  const Code code = reply.ok() ? reply->code : reply.code();
  const bool stored = (code == Code::kOk || code == Code::kDuplicate) && reply->body &&
                      reply->body->length >= offset + length;
  if (stored) {
    batch->finish(ok_status());
  } else if (code == Code::kOk || code == Code::kDuplicate) {
    batch->finish(Error(Code::kBadFrame, "it accepted a run but not all of its bytes"));
  } else {
    batch->finish(reply.ok() ? reply->error() : std::move(reply).error());
  }
}

std::string Takeover::recover_body(size_t chunk, size_t target, u32 offset, u32 length,
                                   u32 unit_index, u32 unit_count) const {
  // What any holder knows of the chunk goes to a replica that never saw it.
  const auto& answers = input_.chunks[chunk].answers;
  const auto holder = std::find_if(answers.begin(), answers.end(), [](const FenceAnswer& answer) {
    return answer.kind == AnswerKind::exists;
  });
  CHECK(holder != answers.end());
  const bool creates = offset == 0;
  const size_t history = creates ? holder->history.size() : 0;
  const ChunkPlace& at = place(chunk);
  const wire::AppendRequest request{
      .chunk = wire::to_wire(at.id),
      .device = at.replicas[target].location.device,
      .epoch = stream_.epoch.number,
      .owner_epoch = at.owner.number,
      .base = holder->base,
      .committed = holder->base,  // all that the chunk's existence proves
      .offset = offset,
      .data_len = length,
      .unit_index = unit_index,
      .unit_count = unit_count,
      .chunk_limit = at.limit,
      .flags = static_cast<u16>(wire::kAppendRecovers | (creates ? wire::kAppendCreates : 0)),
      .copies_max = at.copies_max,
      .copies_min = at.copies_min,
      .history_count = static_cast<u16>(history),
      .reserved0 = 0,
      .reserved1 = {}};
  std::string body(as_text(as_bytes_of(request)));
  for (size_t i = 0; i < history; ++i) {
    const wire::HistoryEntry entry{
        .sequence = holder->history[i].sequence, .zero = 0, .base = holder->history[i].base};
    body += as_text(as_bytes_of(entry));
  }
  return body;
}

}  // namespace pangu::client
