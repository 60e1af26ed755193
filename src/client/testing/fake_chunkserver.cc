#include "client/testing/fake_chunkserver.h"

#include <algorithm>

#include "runtime/reactor.h"
#include "wire/unit.h"

namespace pangu::client::testing {

namespace {

template <class T>
T struct_of(const std::string& body) {
  auto out = wire::read_struct<T>(as_bytes_of(std::string_view(body)));
  CHECK(out.ok());
  return *out;
}
template <class T>
rpc::Reply reply_of(Code code, const T& body) {
  rpc::Reply out;
  out.code = code;
  out.body = std::string(as_text(as_bytes_of(body)));
  return out;
}
rpc::Reply refused(Code code) {
  rpc::Reply out;
  out.code = code;
  return out;
}
const std::byte* bytes_of(const std::string& text) {
  return reinterpret_cast<const std::byte*>(text.data());
}
u32 end_of(const std::string& unit) {
  return wire::footer_of(bytes_of(unit)).end_offset;
}

// The whole units of a run that came over the wire without the padding of its last one.
std::string whole_units(const std::string& payload, u32 unit_count) {
  std::string out(size_t{unit_count} * wire::kUnitBytes, '\0');
  const size_t data = payload.size() - wire::kFooterBytes;
  std::memcpy(out.data(), payload.data(), data);
  std::memcpy(out.data() + out.size() - wire::kFooterBytes, payload.data() + data,
              wire::kFooterBytes);
  return out;
}

}  // namespace

u32 FakeReplica::length() const {
  return units.empty() ? 0 : end_of(units.back());
}

void FakeChunkserver::forget_volatile() {
  for (auto& [id, replica] : replicas_) {
    replica.committed = 0;
  }
}

void FakeChunkserver::replace_device(Uuid device) {
  device_ = device;
  replicas_.clear();
}

Task<rpc::Reply> FakeChunkserver::handle(wire::Method method, std::string body, std::string payload,
                                         Instant deadline) {
  switch (method) {
    case wire::Method::append:
      co_return append(body, payload);
    case wire::Method::read:
      co_return read(body);
    case wire::Method::fence:
      co_return fence(body);
    case wire::Method::finalize:
      co_return finalize(body);
    case wire::Method::close:
      co_return close(body);
    case wire::Method::committed:
      co_return committed(body);
    case wire::Method::watch: {
      auto reply = co_await watch(std::move(body), deadline);
      co_return reply;
    }
    default:
      co_return refused(Code::kUnknownMethod);
  }
}

Code FakeChunkserver::judge_append(const wire::AppendRequest& request, FakeReplica*& replica,
                                   const std::string& body) {
  const bool recovers = (request.flags & wire::kAppendRecovers) != 0;
  const bool creates = (request.flags & wire::kAppendCreates) != 0;
  const ChunkId id = wire::from_wire(request.chunk);
  const auto found = replicas_.find(id);
  replica = found == replicas_.end() ? nullptr : &found->second;
  const u32 fence = replica != nullptr ? replica->fence : 0;
  if (request.epoch < fence) {
    return Code::kFenced;
  }
  if (recovers && request.epoch != fence) {
    return Code::kStale;
  }
  if (!recovers && request.epoch != request.owner_epoch) {
    return Code::kStale;
  }
  if (replica != nullptr && (replica->finalized || (replica->closed && !recovers))) {
    return Code::kSealed;
  }
  if (replica == nullptr || !replica->exists) {
    if (!creates || request.offset != 0) {
      return Code::kGap;
    }
    replica = &replicas_[id];
    replica->exists = true;
    replica->owner_epoch = request.owner_epoch;
    replica->base = request.base;
    replica->limit = request.chunk_limit;
    replica->copies_max = request.copies_max;
    replica->copies_min = request.copies_min;
    replica->history = *wire::read_records<wire::HistoryEntry>(
        as_bytes_of(std::string_view(body)), sizeof(wire::AppendRequest), request.history_count);
  }
  return replica->owner_epoch == request.owner_epoch && replica->base == request.base
             ? Code::kOk
             : Code::kStale;
}

rpc::Reply FakeChunkserver::append(const std::string& body, const std::string& payload) {
  const auto request = struct_of<wire::AppendRequest>(body);
  ++appends_;
  if (request.device != device_) {
    return refused(Code::kNotHere);
  }
  if (refusals_ > 0) {
    --refusals_;
    return refused(refusal_);
  }
  FakeReplica* replica = nullptr;
  const Code code = judge_append(request, replica, body);
  wire::AppendReply reply{.timing = {},
                          .length = replica != nullptr ? replica->length() : 0,
                          .fence = replica != nullptr ? replica->fence : 0,
                          .reserved = {}};
  if (code != Code::kOk) {
    return reply_of(code, reply);
  }
  const std::string units = whole_units(payload, request.unit_count);
  const wire::RunStart start{.chunk = wire::from_wire(request.chunk),
                             .epoch = {request.owner_epoch},
                             .unit_index = request.unit_index,
                             .offset = request.offset};
  const Status good =
      wire::check_run(start, request.data_len, as_bytes_of(std::string_view(units)));
  if (!good.ok()) {
    return refused(Code::kCorrupt);
  }
  const u32 end = request.offset + request.data_len;
  if (request.offset > replica->length() ||
      (request.offset < replica->length() && end > replica->length())) {
    return reply_of(Code::kGap, reply);
  }
  if (request.offset < replica->length()) {
    for (u32 i = 0; i < request.unit_count; ++i) {
      if (replica->units[request.unit_index + i] !=
          units.substr(size_t{i} * wire::kUnitBytes, wire::kUnitBytes)) {
        return reply_of(Code::kConflict, reply);
      }
    }
    return reply_of(Code::kDuplicate, reply);
  }
  if (end > replica->limit) {
    return reply_of(Code::kInvalidArgument, reply);
  }
  CHECK(request.unit_index == replica->units.size());
  for (u32 i = 0; i < request.unit_count; ++i) {
    replica->units.push_back(units.substr(size_t{i} * wire::kUnitBytes, wire::kUnitBytes));
  }
  replica->committed = std::max(replica->committed, request.committed);
  reply.length = end;
  changed_.wake_all();
  return reply_of(Code::kOk, reply);
}

rpc::Reply FakeChunkserver::read(const std::string& body) {
  const auto request = struct_of<wire::ReadRequest>(body);
  const auto found = replicas_.find(wire::from_wire(request.chunk));
  if (request.device != device_ || found == replicas_.end() || !found->second.exists) {
    return refused(Code::kNotHere);
  }
  FakeReplica& replica = found->second;
  u32 readable = 0;
  if ((request.flags & wire::kReadRecovers) != 0) {
    if (request.epoch != replica.fence) {
      return refused(request.epoch < replica.fence ? Code::kFenced : Code::kStale);
    }
    readable = replica.length();
  } else if (request.settled_length != wire::kUnsettled) {
    if (request.settled_length > replica.length()) {
      return refused(Code::kShort);
    }
    readable = request.settled_length;
  } else {
    const u64 committed = std::max(replica.committed, request.known_committed);
    if (committed > replica.base) {
      readable = static_cast<u32>(std::min<u64>(committed - replica.base, replica.length()));
    }
    if (request.offset >= readable) {
      return refused(Code::kNotCommitted);
    }
  }
  wire::ReadReply reply{};
  reply.readable = readable;
  std::string payload;
  u32 start = 0;
  for (u32 i = 0; i < replica.units.size(); ++i) {
    const u32 end = end_of(replica.units[i]);
    const bool wanted = end > request.offset && start < readable &&
                        start < u64{request.offset} + request.length &&
                        reply.unit_count < wire::kRunUnitsMax;
    if (wanted) {
      if (reply.unit_count == 0) {
        reply.unit_index = i;
        reply.unit_offset = start;
      }
      ++reply.unit_count;
      payload += replica.units[i];
    }
    start = end;
  }
  if (damages_reads && !payload.empty()) {
    payload[payload.size() / 2] ^= 1;
  }
  rpc::Reply out = reply_of(Code::kOk, reply);
  out.payload = Slice::copy_of(as_bytes_of(std::string_view(payload)));
  return out;
}

rpc::Reply FakeChunkserver::fence(const std::string& body) {
  const auto request = struct_of<wire::FenceRequest>(body);
  if (request.device != device_) {
    return refused(Code::kNotHere);
  }
  FakeReplica& replica = replicas_[wire::from_wire(request.chunk)];
  const bool refuse = replica.fence > request.epoch;
  replica.fence = std::max(replica.fence, request.epoch);
  const wire::FenceReply reply{.timing = {},
                               .base = replica.base,
                               .length = replica.length(),
                               .unit_count = static_cast<u32>(replica.units.size()),
                               .owner_epoch = replica.owner_epoch,
                               .fence = replica.fence,
                               .chunk_limit = replica.limit,
                               .history_count = static_cast<u16>(replica.history.size()),
                               .exists = replica.exists,
                               .copies_max = replica.copies_max,
                               .copies_min = replica.copies_min,
                               .finalized = replica.finalized,
                               .reserved0 = 0,
                               .reserved1 = 0};
  rpc::Reply out = reply_of(refuse ? Code::kFenced : Code::kOk, reply);
  for (const wire::HistoryEntry& entry : replica.history) {
    out.body += as_text(as_bytes_of(entry));
  }
  changed_.wake_all();
  return out;
}

rpc::Reply FakeChunkserver::finalize(const std::string& body) {
  const auto request = struct_of<wire::FinalizeRequest>(body);
  const auto found = replicas_.find(wire::from_wire(request.chunk));
  if (request.device != device_ || found == replicas_.end() || !found->second.exists) {
    return refused(Code::kNotHere);
  }
  FakeReplica& replica = found->second;
  const wire::LengthReply reply{.timing = {}, .length = replica.length(), .reserved = {}};
  if (replica.length() < request.length) {
    return reply_of(Code::kShort, reply);
  }
  if (replica.finalized && replica.length() != request.length) {
    return reply_of(Code::kConflict, reply);
  }
  while (replica.length() > request.length) {
    replica.units.pop_back();
  }
  CHECK(replica.length() == request.length);  // decided lengths end with a unit
  replica.finalized = true;
  changed_.wake_all();
  return reply_of(Code::kOk, reply);
}

rpc::Reply FakeChunkserver::close(const std::string& body) {
  const auto request = struct_of<wire::CloseRequest>(body);
  FakeReplica& replica = replicas_[wire::from_wire(request.chunk)];
  replica.closed = true;
  const wire::LengthReply reply{.timing = {}, .length = replica.length(), .reserved = {}};
  changed_.wake_all();
  return reply_of(Code::kOk, reply);
}

rpc::Reply FakeChunkserver::committed(const std::string& body) {
  const auto request = struct_of<wire::CommittedRequest>(body);
  const auto entries = wire::read_records<wire::CommittedEntry>(as_bytes_of(std::string_view(body)),
                                                                sizeof(request), request.count);
  CHECK(entries.ok());
  for (const wire::CommittedEntry& entry : *entries) {
    ++committed_entries_;
    const auto found = replicas_.find(wire::from_wire(entry.chunk));
    if (entry.device == device_ && found != replicas_.end() && found->second.exists &&
        found->second.owner_epoch == entry.epoch) {
      found->second.committed = std::max(found->second.committed, entry.committed);
    }
  }
  changed_.wake_all();
  return rpc::Reply();
}

Task<rpc::Reply> FakeChunkserver::watch(std::string body, Instant deadline) {
  const auto request = struct_of<wire::WatchRequest>(body);
  if (request.device != device_) {
    co_return refused(Code::kNotHere);
  }
  const Instant until =
      std::min(deadline, Reactor::current().now() + microseconds(request.wait_us));
  for (;;) {
    const auto found = replicas_.find(wire::from_wire(request.chunk));
    wire::WatchReply reply{};
    bool news = true;
    if (found != replicas_.end() && found->second.exists) {
      const FakeReplica& replica = found->second;
      reply.committed = std::max(replica.committed, replica.base);
      reply.length = replica.length();
      reply.exists = 1;
      reply.finalized = replica.finalized;
      reply.fenced_or_closed = replica.fence > replica.owner_epoch || replica.closed;
      reply.base = replica.base;
      news =
          reply.committed > request.beyond || reply.finalized != 0 || reply.fenced_or_closed != 0;
    }
    if (news || Reactor::current().now() >= until) {
      co_return reply_of(Code::kOk, reply);
    }
    co_await changed_.wait(until);
  }
}

}  // namespace pangu::client::testing
