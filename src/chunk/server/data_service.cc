#include "chunk/server/data_service.h"

#include <fmt/format.h>

#include "base/reached.h"
#include "chunk/server/group_service.h"
#include "runtime/reactor.h"
#include "wire/proto.h"
#include "wire/unit.h"

namespace pangu::chunk {

namespace {

u32 microseconds_since(Instant start) {
  const i64 us = (Reactor::current().now() - start).us();
  return us < 0 ? 0 : static_cast<u32>(std::min<i64>(us, 0xffffffff));
}

// A reply struct with its code; the struct goes along with every code, so that the caller learns
// lengths and fences from refusals too.
template <class Body>
rpc::Reply struct_reply(Code code, Body body, const wire::ReplyTiming& timing, Instant received) {
  body.timing = timing;
  body.timing.total_us = microseconds_since(received);
  rpc::Reply reply;
  reply.code = code;
  reply.body.assign(reinterpret_cast<const char*>(&body), sizeof body);
  return reply;
}

rpc::Reply proto_reply(const google::protobuf::MessageLite& message) {
  rpc::Reply reply;
  reply.body = message.SerializeAsString();
  return reply;
}

void append_history(rpc::Reply& reply, const std::vector<wire::HistoryEntry>& history) {
  for (const wire::HistoryEntry& entry : history) {
    reply.body.append(reinterpret_cast<const char*>(&entry), sizeof entry);
  }
}

AppendArgs args_of(const wire::AppendRequest& in, std::vector<wire::HistoryEntry> history,
                   Instant deadline) {
  return {.chunk = wire::from_wire(in.chunk),
          .epoch = {in.epoch},
          .owner_epoch = {in.owner_epoch},
          .base = in.base,
          .committed = in.committed,
          .offset = in.offset,
          .data_len = in.data_len,
          .unit_index = in.unit_index,
          .unit_count = in.unit_count,
          .creates = (in.flags & wire::kAppendCreates) != 0,
          .recovers = (in.flags & wire::kAppendRecovers) != 0,
          .chunk_limit = in.chunk_limit,
          .copies_max = in.copies_max,
          .copies_min = in.copies_min,
          .history = std::move(history),
          .deadline = deadline};
}

}  // namespace

Slice PoolBuffers::take(size_t size) {
  std::optional<Slice> slice = pool_.try_take(size);
  return slice ? std::move(*slice) : Slice();
}

bool PoolBuffers::pressed() const {
  const BufferPoolCounters& counters = pool_.counters();
  return counters.bytes_in_use * 4 > counters.bytes_max * 3;
}

void DataService::add_device(ChunkStore& store, std::string media) {
  devices_[store.identity().device] = Device{.store = &store, .media = std::move(media)};
}

Result<ChunkStore*> DataService::store_of(const Uuid& device) {
  const auto found = devices_.find(device);
  if (found == devices_.end()) {
    REACHED("chunkserver: asked for a device that is not here");
    return Error(Code::kNotHere,
                 fmt::format("server {} has no device {}", to_string(server_), to_string(device)));
  }
  return found->second.store;
}

Result<rpc::Placement> DataService::place(const wire::FrameHeader& header, Bytes body) {
  if (header.method != static_cast<u16>(wire::Method::append)) {
    return Error(Code::kBadFrame, fmt::format("method {} takes no payload", header.method));
  }
  TRY(request, wire::read_struct<wire::AppendRequest>(body));
  TRY(bytes, wire::wire_bytes_of(request.unit_count, request.data_len));
  if (bytes != header.payload_len) {
    return Error(Code::kInvalidArgument,
                 fmt::format("a run of {} units with {} payload bytes is {} bytes, not {}",
                             request.unit_count, request.data_len, bytes, header.payload_len));
  }
  // A creating run leaves in one write with the chunk's header, which stands in front of it.
  const size_t headroom = (request.flags & wire::kAppendCreates) != 0 ? ChunkStore::kHeadroom : 0;
  const size_t units_bytes = size_t{request.unit_count} * wire::kUnitBytes;
  std::optional<Slice> taken = pool_.try_take(headroom + units_bytes);
  if (!taken) {
    return Code::kBusy;
  }
  rpc::Placement out;
  out.buffer = taken->part(headroom, units_bytes);
  const size_t last_data = request.data_len - size_t{request.unit_count - 1} * wire::kUnitDataMax;
  const size_t data_end = units_bytes - wire::kUnitBytes + last_data;
  std::byte* start = out.buffer.data();
  if (last_data == wire::kUnitDataMax) {
    out.pieces[0] = {start, units_bytes};
    out.count = 1;
    return out;
  }
  const size_t footer = units_bytes - wire::kFooterBytes;
  std::memset(start + data_end, 0, footer - data_end);
  out.pieces[0] = {start, data_end};
  out.pieces[1] = {start + footer, wire::kFooterBytes};
  out.count = 2;
  return out;
}

Task<rpc::Reply> DataService::handle(rpc::Request request) {
  rpc::Reply reply;
  switch (request.method) {
    case wire::Method::append:
      reply = co_await append(std::move(request));
      break;
    case wire::Method::read:
      reply = co_await read(std::move(request));
      break;
    case wire::Method::fence:
      reply = co_await fence(std::move(request));
      break;
    case wire::Method::finalize:
      reply = co_await finalize(std::move(request));
      break;
    case wire::Method::close:
      reply = co_await close(std::move(request));
      break;
    case wire::Method::committed:
      reply = co_await committed(std::move(request));
      break;
    case wire::Method::watch:
      reply = co_await watch(std::move(request));
      break;
    case wire::Method::chunkserver_status:
      reply = co_await status(std::move(request));
      break;
    case wire::Method::inspect_chunk:
      reply = co_await inspect(std::move(request));
      break;
    case wire::Method::chunk_orders:
    case wire::Method::list_chunks:
    case wire::Method::copy_chunk:
      reply = co_await ask_groups(std::move(request));
      break;
    default:
      reply = rpc::Reply(
          Error(Code::kUnknownMethod,
                fmt::format("a chunkserver has no method '{}' ({})",
                            wire::to_string(request.method), static_cast<int>(request.method))));
      break;
  }
  if (reply.code != Code::kOk && reply.code != Code::kDuplicate) {
    ++counters_.refused;
  }
  co_return reply;
}

Task<rpc::Reply> DataService::ask_groups(rpc::Request request) {
  if (groups_ == nullptr) {
    co_return rpc::Reply(Error(Code::kUnknownMethod, "this server has nothing to do with groups"));
  }
  if (request.method == wire::Method::chunk_orders) {
    co_return co_await groups_->chunk_orders(std::move(request));
  }
  if (request.method == wire::Method::list_chunks) {
    co_return co_await groups_->list_chunks(std::move(request));
  }
  co_return co_await groups_->copy_chunk(std::move(request));
}

Task<rpc::Reply> DataService::append(rpc::Request request) {
  const auto in = wire::read_struct<wire::AppendRequest>(request.body.bytes());
  if (!in.ok()) {
    co_return rpc::Reply(in.error());
  }
  if (request.payload.size() != size_t{in->unit_count} * wire::kUnitBytes ||
      in->history_count > wire::kHistoryMax) {
    co_return rpc::Reply(Error(Code::kInvalidArgument, "an append carries a run of units"));
  }
  if (in->epoch == kCopyEpoch.number || in->owner_epoch == kCopyEpoch.number) {
    co_return rpc::Reply(Error(Code::kInvalidArgument, "this epoch is for copies"));
  }
  auto history = wire::read_records<wire::HistoryEntry>(
      request.body.bytes(), sizeof(wire::AppendRequest), in->history_count);
  if (!history.ok()) {
    co_return rpc::Reply(history.error());
  }
  const auto store = store_of(in->device);
  if (!store.ok()) {
    co_return rpc::Reply(store.error());
  }
  ++counters_.appends;
  counters_.append_bytes += in->data_len;
  const Instant received = request.received;
  const u32 queued_us = microseconds_since(received);
  AppendArgs args = args_of(*in, std::move(*history), request.deadline);
  AppendOutcome outcome = co_await (*store)->append(std::move(args), std::move(request.payload));
  outcome.timing.queue_us += queued_us;
  const wire::AppendReply out{
      .timing = {}, .length = outcome.length, .fence = outcome.fence.number, .reserved = {}};
  co_return struct_reply(outcome.code, out, outcome.timing, received);
}

Task<rpc::Reply> DataService::read(rpc::Request request) {
  const auto in = wire::read_struct<wire::ReadRequest>(request.body.bytes());
  if (!in.ok()) {
    co_return rpc::Reply(in.error());
  }
  if (in->length == 0) {
    co_return rpc::Reply(Error(Code::kInvalidArgument, "a read asks for at least one byte"));
  }
  const auto store = store_of(in->device);
  if (!store.ok()) {
    co_return rpc::Reply(store.error());
  }
  const ReadArgs args{.chunk = wire::from_wire(in->chunk),
                      .offset = in->offset,
                      .length = in->length,
                      .settled_length = in->settled_length,
                      .known_committed = in->known_committed,
                      .recovers = (in->flags & wire::kReadRecovers) != 0,
                      .epoch = {in->epoch}};
  ReadOutcome outcome = co_await (*store)->read(args);
  ++counters_.reads;
  counters_.read_bytes += outcome.length;
  const wire::ReadReply out{.timing = {},
                            .readable = outcome.readable,
                            .length = outcome.length,
                            .unit_index = outcome.unit_index,
                            .unit_count = outcome.unit_count,
                            .unit_offset = outcome.unit_offset,
                            .valid = outcome.valid,
                            .reserved = {}};
  rpc::Reply reply = struct_reply(outcome.code, out, outcome.timing, request.received);
  reply.payload = std::move(outcome.units);
  co_return reply;
}

Task<rpc::Reply> DataService::fence(rpc::Request request) {
  const auto in = wire::read_struct<wire::FenceRequest>(request.body.bytes());
  if (!in.ok()) {
    co_return rpc::Reply(in.error());
  }
  const auto store = store_of(in->device);
  if (!store.ok()) {
    co_return rpc::Reply(store.error());
  }
  if (in->epoch == kCopyEpoch.number) {
    co_return rpc::Reply(Error(Code::kInvalidArgument, "this epoch is for copies"));
  }
  const FenceOutcome outcome = co_await (*store)->fence(wire::from_wire(in->chunk), {in->epoch});
  const wire::FenceReply out{.timing = {},
                             .base = outcome.base,
                             .length = outcome.length,
                             .unit_count = outcome.unit_count,
                             .owner_epoch = outcome.owner_epoch.number,
                             .fence = outcome.fence.number,
                             .chunk_limit = outcome.chunk_limit,
                             .history_count = static_cast<u16>(outcome.history.size()),
                             .exists = outcome.exists,
                             .copies_max = outcome.copies_max,
                             .copies_min = outcome.copies_min,
                             .finalized = outcome.finalized,
                             .reserved0 = 0,
                             .reserved1 = 0};
  rpc::Reply reply = struct_reply(outcome.code, out, outcome.timing, request.received);
  append_history(reply, outcome.history);
  co_return reply;
}

Task<rpc::Reply> DataService::finalize(rpc::Request request) {
  const auto in = wire::read_struct<wire::FinalizeRequest>(request.body.bytes());
  if (!in.ok()) {
    co_return rpc::Reply(in.error());
  }
  const auto store = store_of(in->device);
  if (!store.ok()) {
    co_return rpc::Reply(store.error());
  }
  const LengthOutcome outcome =
      co_await (*store)->finalize(wire::from_wire(in->chunk), in->length, in->version);
  const wire::LengthReply out{.timing = {}, .length = outcome.length, .reserved = {}};
  co_return struct_reply(outcome.code, out, outcome.timing, request.received);
}

Task<rpc::Reply> DataService::close(rpc::Request request) {
  const auto in = wire::read_struct<wire::CloseRequest>(request.body.bytes());
  if (!in.ok()) {
    co_return rpc::Reply(in.error());
  }
  const auto store = store_of(in->device);
  if (!store.ok()) {
    co_return rpc::Reply(store.error());
  }
  const LengthOutcome outcome = co_await (*store)->close(wire::from_wire(in->chunk), {in->epoch});
  const wire::LengthReply out{.timing = {}, .length = outcome.length, .reserved = {}};
  co_return struct_reply(outcome.code, out, outcome.timing, request.received);
}

Task<rpc::Reply> DataService::committed(rpc::Request request) {
  const auto in = wire::read_struct<wire::CommittedRequest>(request.body.bytes());
  if (!in.ok()) {
    co_return rpc::Reply(in.error());
  }
  if (in->count > wire::kCommittedMax) {
    co_return rpc::Reply(Error(Code::kTooLarge, fmt::format("{} entries, at most {} are taken",
                                                            in->count, wire::kCommittedMax)));
  }
  const auto entries = wire::read_records<wire::CommittedEntry>(
      request.body.bytes(), sizeof(wire::CommittedRequest), in->count);
  if (!entries.ok()) {
    co_return rpc::Reply(entries.error());
  }
  for (const wire::CommittedEntry& entry : *entries) {
    // A device that is gone has no readers here: nothing to tell, nothing to refuse.
    const auto store = store_of(entry.device);
    if (store.ok()) {
      (*store)->set_committed(wire::from_wire(entry.chunk), {entry.epoch}, entry.committed);
    }
  }
  co_return rpc::Reply();
}

Task<rpc::Reply> DataService::watch(rpc::Request request) {
  const auto in = wire::read_struct<wire::WatchRequest>(request.body.bytes());
  if (!in.ok()) {
    co_return rpc::Reply(in.error());
  }
  const auto store = store_of(in->device);
  if (!store.ok()) {
    co_return rpc::Reply(store.error());
  }
  const Instant until = request.received + microseconds(in->wait_us);
  const WatchArgs args{.chunk = wire::from_wire(in->chunk),
                       .beyond = in->beyond,
                       .known_committed = in->known_committed,
                       .deadline = std::min(until, request.deadline)};
  const WatchOutcome outcome = co_await (*store)->watch(args);
  const wire::WatchReply out{.timing = {},
                             .committed = outcome.committed,
                             .length = outcome.length,
                             .exists = outcome.exists,
                             .finalized = outcome.finalized,
                             .fenced_or_closed = outcome.fenced_or_closed,
                             .reserved0 = 0,
                             .base = outcome.base,
                             .reserved1 = {}};
  co_return struct_reply(outcome.code, out, wire::ReplyTiming{}, request.received);
}

pb::DeviceInfo device_info(const ChunkStore& store, std::string_view media) {
  const SpaceInfo space = store.space();
  pb::DeviceInfo out;
  wire::set(*out.mutable_device(), store.identity().device);
  out.set_capacity_bytes(space.capacity);
  out.set_free_bytes(space.free + space.prepared);
  out.set_failed(space.failed);
  out.set_full(space.full);
  out.set_media(std::string(media));
  out.set_chunks(store.contents().chunks);
  if (space.failed) {
    out.set_failure("a write or flush failed; replace the device");
  }
  return out;
}

namespace {
void add_counters(const StoreCounters& counters, google::protobuf::Map<std::string, u64>& out) {
  out["store_appends"] += counters.appends;
  out["store_append_bytes"] += counters.append_bytes;
  out["store_append_writes"] += counters.append_writes;
  out["store_payload_copies"] += counters.payload_copies;
  out["store_append_waits"] += counters.append_waits;
  out["store_durable_writes"] += counters.durable_writes;
  out["store_grouped_writes"] += counters.grouped_writes;
  out["store_flushes"] += counters.flushes;
  out["store_reads"] += counters.reads;
  out["store_read_bytes"] += counters.read_bytes;
  out["store_device_reads"] += counters.device_reads;
  out["store_device_read_bytes"] += counters.device_read_bytes;
  out["store_tail_hits"] += counters.tail_hits;
  out["store_bad_units"] += counters.bad_units;
  out["store_io_errors"] += counters.io_errors;
  out["store_chunk_bytes_written"] += counters.chunk_bytes_written;
  out["store_log_bytes_written"] += counters.log_bytes_written;
  out["store_checkpoint_bytes_written"] += counters.checkpoint_bytes_written;
  out["store_reserve_bytes_written"] += counters.reserve_bytes_written;
  out["store_zero_bytes_written"] += counters.zero_bytes_written;
}
}  // namespace

Task<rpc::Reply> DataService::status(rpc::Request) {
  pb::ChunkserverStatusReply out;
  out.set_server(server_.number);
  auto& counters = *out.mutable_counters();
  for (const auto& [id, device] : devices_) {
    *out.add_devices() = device_info(*device.store, device.media);
    add_counters(device.store->counters(), counters);
    const Remembered remembered = device.store->remembered();
    counters["tombstones"] += remembered.tombstones;
    counters["forgotten_ranges"] += remembered.ranges;
  }
  counters["appends"] = counters_.appends;
  counters["append_bytes"] = counters_.append_bytes;
  counters["reads"] = counters_.reads;
  counters["read_bytes"] = counters_.read_bytes;
  counters["refused"] = counters_.refused;
  if (groups_ != nullptr) {
    for (const auto& [name, value] : groups_->counters()) {
      counters[name] = value;
    }
  }
  Reactor& reactor = Reactor::current();
  const ReactorCounters& loop = reactor.counters();
  counters["reactor_turns"] = loop.turns;
  counters["reactor_sleeps"] = loop.sleeps;
  counters["reactor_completions"] = loop.completions;
  counters["pool_bytes_in_use"] = pool_.counters().bytes_in_use;
  counters["pool_bytes_in_use_peak"] = pool_.counters().bytes_in_use_peak;
  u64 slow_slices = 0;
  for (const SliceReport& report : reactor.slice_reports()) {
    slow_slices += report.over_limit;
  }
  counters["reactor_slow_slices"] = slow_slices;
  out.set_runtime(std::string(reactor.env().name()));
  co_return proto_reply(out);
}

Task<rpc::Reply> DataService::inspect(rpc::Request request) {
  pb::InspectChunkRequest in;
  if (!in.ParseFromArray(request.body.data(), static_cast<int>(request.body.size()))) {
    co_return rpc::Reply(Error(Code::kBadFrame, "request does not parse"));
  }
  pb::InspectChunkReply out;
  for (const auto& [id, device] : devices_) {
    const Result<ChunkInfo> info = device.store->stat(wire::get(in.chunk()));
    if (!info.ok()) {
      continue;
    }
    pb::InspectChunkReply::One& one = *out.add_replicas();
    wire::set(*one.mutable_device(), id);
    one.set_exists(info->exists);
    one.set_length(info->length);
    one.set_unit_count(info->unit_count);
    one.set_owner_epoch(info->owner_epoch.number);
    one.set_fence(info->fence.number);
    one.set_finalized(info->finalized);
    one.set_base(info->base);
    one.set_committed(info->base + info->committed);
  }
  co_return proto_reply(out);
}

}  // namespace pangu::chunk
