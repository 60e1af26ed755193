#pragma once
#include <map>
#include <set>

#include "base/prng.h"
#include "master/state/stream_harness.h"
#include "master/streams/replica_check.h"
#include "master/streams/stream_loops.h"
#include "runtime/await.h"
#include "runtime/fake_env.h"

// For tests of the stream loops: a stream group's state with any number of copies that may lead it,
// chunkservers that do what they are told, or not, and a clock that the test moves.
namespace pangu::master::test {

struct HeldReplica {
  u32 length = 0;
  u32 version = 1;
  bool finalized = true;
  bool damaged = false;
  bool copying = false;
};

struct FakeServer {
  bool up = true;
  bool heard = true;          // by the root
  std::string rack;
  pb::AdminState admin = pb::SERVER_IN_SERVICE;
  u64 free_bytes = 100 * kGiB;
  std::set<u64> failed_devices;  // Uuid::low
  std::map<Uuid, std::map<ChunkId, HeldReplica>> devices;
  u64 term = 0;
  bool refuses_orders = false;  // says that nothing was done
  // Changes, by number.
  u64 change = 1;
  std::map<u64, std::pair<Uuid, ChunkId>> changes;
  // Questions about dead chunks that it asks, one a call.
  std::vector<ChunkId> questions;
  std::vector<pb::DeadChunks> answers;
  u64 calls = 0;
};

class FakeServers final : public ServerCalls {
 public:
  FakeServers(Reactor& reactor, u64 seed) : random(seed), reactor_(reactor) {}

  std::map<u32, FakeServer> servers;
  double loss = 0;             // of a request, or of its reply
  Duration delay = milliseconds(2);
  Duration copy_time = milliseconds(100);
  u64 copies_begun = 0;
  u64 copies_running = 0;
  u64 most_copies = 0;
  std::map<u32, u64> copies_on;
  u64 most_copies_on_one = 0;
  bool stopped = false;

  void touch(u32 server, const Uuid& device, const ChunkId& chunk) {
    FakeServer& at = servers.at(server);
    at.changes[++at.change] = {device, chunk};
  }
  void put(u32 server, const ChunkId& chunk, const HeldReplica& replica) {
    put_on(server, StreamHarness::device(server), chunk, replica);
  }
  void put_on(u32 server, const Uuid& device, const ChunkId& chunk, const HeldReplica& replica) {
    servers.at(server).devices[device][chunk] = replica;
    touch(server, device, chunk);
  }
  HeldReplica* find(u32 server, const ChunkId& chunk) {
    for (auto& [device, chunks] : servers.at(server).devices) {
      if (const auto found = chunks.find(chunk); found != chunks.end()) {
        return &found->second;
      }
    }
    return nullptr;
  }
  void remove(u32 server, const ChunkId& chunk) {
    for (auto& [device, chunks] : servers.at(server).devices) {
      if (chunks.erase(chunk) > 0) {
        touch(server, device, chunk);
      }
    }
  }

  Task<Result<std::string>> call(ServerId server, std::string address, wire::Method method,
                                 std::string body, Instant deadline) override {
    co_await sleep_for(delay * static_cast<i64>(1 + random.below(5)));
    const auto found = servers.find(server.number);
    if (stopped) {
      co_return Error(Code::kClosed);
    }
    if (found == servers.end() || !found->second.up || address.empty()) {
      co_return Error(Code::kConnectFailed);
    }
    ++found->second.calls;
    if (random.chance(loss)) {
      co_await sleep_until(deadline);
      co_return Error(Code::kTimeout);
    }
    Result<std::string> reply = Error(Code::kUnknownMethod);
    if (method == wire::Method::chunk_orders) {
      reply = orders(found->second, server.number, body);
    } else if (method == wire::Method::list_chunks) {
      reply = list(found->second, body);
    } else if (method == wire::Method::copy_chunk) {
      reply = co_await copy(server.number, body, deadline);
    }
    if (random.chance(loss)) {
      co_await sleep_until(deadline);
      co_return Error(Code::kTimeout);
    }
    co_return reply;
  }

  Prng random;

 private:
  bool refuses_term(FakeServer& server, u64 term) {
    if (term < server.term) {
      return true;
    }
    server.term = term;
    return false;
  }

  Result<std::string> orders(FakeServer& server, u32 number, const std::string& body) {
    pb::ChunkOrdersRequest request;
    CHECK(request.ParseFromString(body));
    if (refuses_term(server, request.term())) {
      return Error(Code::kStale);
    }
    for (const pb::DeadChunks& dead : request.dead()) {
      server.answers.push_back(dead);
    }
    pb::ChunkOrdersReply reply;
    for (const pb::ChunkOnDevice& order : request.delete_chunks()) {
      if (server.refuses_orders) {
        continue;
      }
      const ChunkId chunk = wire::get(order.chunk());
      *reply.add_deleted() = order;
      const auto device = server.devices.find(wire::get(order.device()));
      if (device == server.devices.end()) {
        continue;
      }
      auto& chunks = device->second;
      const auto found = chunks.find(chunk);
      if (found != chunks.end() && (order.version() == 0 || !found->second.finalized ||
                                    found->second.version <= order.version())) {
        chunks.erase(found);
        touch(number, wire::get(order.device()), chunk);
      }
    }
    for (const pb::FinalizeOrder& order : request.finalize_chunks()) {
      if (server.refuses_orders) {
        continue;
      }
      *reply.add_finalized() = order;
      const auto device = server.devices.find(wire::get(order.device()));
      if (device == server.devices.end()) {
        continue;
      }
      auto& chunks = device->second;
      const auto found = chunks.find(wire::get(order.chunk()));
      if (found != chunks.end() && found->second.length >= order.length() &&
          !found->second.finalized) {
        found->second.finalized = true;
        found->second.length = order.length();
        found->second.version = order.version();
      }
    }
    if (!server.questions.empty()) {
      pb::ChunkOnDevice& question = *reply.add_dead_from();
      wire::set(*question.mutable_chunk(), server.questions.front());
      wire::set(*question.mutable_device(), StreamHarness::device(number));
      server.questions.erase(server.questions.begin());
    }
    return reply.SerializeAsString();
  }

  Result<std::string> list(FakeServer& server, const std::string& body) {
    pb::ListChunksRequest request;
    CHECK(request.ParseFromString(body));
    if (refuses_term(server, request.term())) {
      return Error(Code::kStale);
    }
    const Uuid device = wire::get(request.device());
    const auto found = server.devices.find(device);
    if (found == server.devices.end()) {
      return Error(Code::kNotHere);
    }
    pb::ListChunksReply reply;
    reply.set_change(server.change);
    reply.set_changes_only(request.changed_since() != 0);
    std::map<ChunkId, const HeldReplica*> chunks;
    if (request.changed_since() == 0) {
      for (const auto& [id, replica] : found->second) {
        chunks.emplace(id, &replica);
      }
    } else {
      for (auto at = server.changes.upper_bound(request.changed_since());
           at != server.changes.end(); ++at) {
        if (at->second.first == device) {
          const auto held = found->second.find(at->second.second);
          chunks[at->second.second] = held == found->second.end() ? nullptr : &held->second;
        }
      }
    }
    for (const auto& [id, replica] : chunks) {
      if ((request.has_after() && id <= wire::get(request.after())) ||
          (request.has_until() && id >= wire::get(request.until()))) {
        continue;
      }
      if (reply.chunks_size() == static_cast<int>(request.limit())) {
        reply.set_more(true);
        break;
      }
      pb::HeldChunk& held = *reply.add_chunks();
      wire::set(*held.mutable_chunk(), id);
      held.set_gone(replica == nullptr);
      if (replica != nullptr) {
        held.set_length(replica->length);
        held.set_version(replica->version);
        held.set_finalized(replica->finalized);
        held.set_damaged(replica->damaged);
        held.set_copying(replica->copying);
      }
    }
    return reply.SerializeAsString();
  }

  // What the target answers.
  Task<Result<std::string>> copy(u32 target, std::string body, Instant deadline) {
    pb::CopyChunkRequest request;
    CHECK(request.ParseFromString(body));
    if (refuses_term(servers.at(target), request.term())) {
      co_return Error(Code::kStale);
    }
    ++copies_begun;
    most_copies = std::max(most_copies, ++copies_running);
    for (const u32 each : {target, request.source_server()}) {
      most_copies_on_one = std::max(most_copies_on_one, ++copies_on[each]);
    }
    const Instant until = reactor_.now() + copy_time * static_cast<i64>(1 + random.below(4));
    co_await sleep_until(std::min(until, deadline));
    --copies_running;
    for (const u32 each : {target, request.source_server()}) {
      --copies_on[each];
    }
    if (until > deadline) {
      co_return Error(Code::kTimeout);
    }
    co_return finish_copy(target, request);
  }

  Result<std::string> finish_copy(u32 target, const pb::CopyChunkRequest& request) {
    const ChunkId chunk = wire::get(request.chunk());
    FakeServer& to = servers.at(target);
    if (!to.up) {
      return Error(Code::kConnectionLost);
    }
    if (to.free_bytes < request.length()) {
      return Error(Code::kNoSpace);
    }
    const auto device = to.devices.find(wire::get(request.device()));
    if (device == to.devices.end()) {
      return Error(Code::kDeviceFailed);
    }
    auto& chunks = device->second;
    pb::CopyChunkReply reply;
    if (const auto old = chunks.find(chunk); old != chunks.end()) {
      if (old->second.finalized && old->second.length == request.length() &&
          !old->second.damaged) {
        return reply.SerializeAsString();
      }
      return Error(Code::kAlreadyExists);
    }
    const auto from = servers.find(request.source_server());
    if (from == servers.end() || !from->second.up) {
      return Error(Code::kUnavailable);
    }
    const auto held = from->second.devices.find(wire::get(request.source_device()));
    if (held == from->second.devices.end() || !held->second.contains(chunk)) {
      return Error(Code::kNotHere);
    }
    const auto source = held->second.find(chunk);
    if (source->second.damaged) {
      return Error(Code::kCorrupt);
    }
    if (source->second.length < request.length()) {
      return Error(Code::kShort);
    }
    chunks[chunk] = {.length = request.length(), .version = request.version()};
    touch(target, wire::get(request.device()), chunk);
    reply.set_bytes(request.length());
    return reply.SerializeAsString();
  }

  Reactor& reactor_;
};

class Rig;

// One copy of the group.
class FakeCopy final : public StreamGroup {
 public:
  FakeCopy(Rig& rig, const StreamLoopsOptions& options);
  u64 id() const override { return wire::kFirstStreamGroup; }
  u64 leading_term() const override { return term; }
  bool closing() const override { return closing_; }
  WaitList& news() override { return news_; }
  Task<Status> look(std::function<void(Txn&)> look) override;
  Task<Status> execute(InternalMethod method, std::string request, Instant deadline) override;
  std::vector<pb::ServerInfo> servers() override;

  void close() {
    closing_ = true;
    term = 0;
    news_.wake_all();
  }

  u64 term = 0;  // that it leads in, as it believes
  std::unique_ptr<StreamLoops> loops;

 private:
  Rig& rig_;
  bool closing_ = false;
  WaitList news_;
};

class Rig {
 public:
  explicit Rig(u64 seed, u32 servers = 4, size_t copies = 1,
               const StreamLoopsOptions& options = {})
      : calls(reactor, seed), random(seed + 1) {
    for (u32 server = 1; server <= servers; ++server) {
      add_server(server);
    }
    for (size_t i = 0; i < copies; ++i) {
      this->copies.push_back(std::make_unique<FakeCopy>(*this, options));
      this->copies.back()->loops->start();
    }
    lead(0);
  }
  ~Rig() {
    calls.stopped = true;
    for (auto& copy : copies) {
      copy->close();
    }
    for (auto& copy : copies) {
      run_blocking(reactor, copy->loops->stop());
    }
  }

  void add_server(u32 server, std::string rack = "") {
    FakeServer& added = calls.servers[server];
    added.rack = rack.empty() ? "r" + std::to_string(server) : rack;
    added.devices[StreamHarness::device(server)];
  }
  // From now on `copy` leads, in a new term. The others hear of it.
  void lead(size_t copy) {
    for (auto& each : copies) {
      each->term = 0;
    }
    lead_unheard(copy);
    wake_all();
  }
  // The former leader does not know yet.
  void lead_unheard(size_t copy) {
    copies[copy]->term = ++term;
    copies[copy]->news().wake_all();
  }
  void wake_all() {
    for (auto& copy : copies) {
      copy->news().wake_all();
    }
  }
  void run(Duration time) {
    const Instant until = env.clock + time;
    while (env.clock < until) {
      reactor.run_once(until);
    }
  }
  // Runs until `done()`, or for a simulated while.
  template <class Done>
  bool run_until(Done done, Duration longest = seconds(600)) {
    const Instant until = env.clock + longest;
    while (!done() && env.clock < until) {
      reactor.run_once(std::min(until, env.clock + milliseconds(100)));
    }
    return done();
  }
  StreamLoopsStatus status(size_t copy = 0) {
    return copies[copy]->loops->status().value_or(StreamLoopsStatus());
  }

  // A file of one settled chunk on servers first, first + 1, first + 2, whose replicas are there.
  ChunkId settled_chunk(u64 counter, u32 first = 1, u32 length = 1000, u32 copies_max = 3) {
    const u64 file = StreamHarness::file(counter);
    CHECK(h.open(file, 1, StreamHarness::offer(1, copies_max, 2, first)).ok());
    CHECK(h.report(file, 1, 1, 0, length) == Code::kOk);
    const ChunkId chunk{.file = {file}, .sequence = 1};
    for (u32 server = first; server < first + copies_max; ++server) {
      calls.put(server, chunk, {.length = length, .version = 1, .finalized = false});
    }
    wake_all();
    return chunk;
  }
  std::set<u32> listed(const ChunkId& chunk) {
    std::set<u32> out;
    if (const auto found = h.settled(chunk.file.number, chunk.sequence)) {
      for (const record::Replica& replica : found->chunk.replicas()) {
        if (!replica.suspect()) {
          out.insert(replica.server());
        }
      }
    }
    return out;
  }
  std::set<u32> held(const ChunkId& chunk) {
    std::set<u32> out;
    for (auto& [number, server] : calls.servers) {
      if (calls.find(number, chunk) != nullptr) {
        out.insert(number);
      }
    }
    return out;
  }
  // The chunk is listed on `copies` live servers, that hold it, and on no others.
  bool whole(const ChunkId& chunk, size_t copies_wanted = 3) {
    const auto found = h.settled(chunk.file.number, chunk.sequence);
    if (!found || found->chunk.replicas_size() != static_cast<int>(copies_wanted)) {
      return false;
    }
    for (const record::Replica& replica : found->chunk.replicas()) {
      FakeServer& server = calls.servers.at(replica.server());
      const auto device = server.devices.find(location_of(replica).device);
      if (device == server.devices.end()) {
        return false;
      }
      const auto& chunks = device->second;
      const auto at = chunks.find(chunk);
      if (replica.suspect() || !server.up || server.admin != pb::SERVER_IN_SERVICE ||
          at == chunks.end() || at->second.damaged || at->second.length < found->chunk.length() ||
          server.failed_devices.contains(replica.device_low())) {
        return false;
      }
    }
    return true;
  }
  size_t orders() {
    return h.query([](Txn& txn) { return txn.scan_prefix("O", 100'000); }).entries.size();
  }

  env::FakeEnv env;
  Reactor reactor{env, ReactorOptions{}};
  StreamHarness h;
  FakeServers calls;
  Prng random;
  std::vector<std::unique_ptr<FakeCopy>> copies;
  u64 term = 0;
  double unknown_outcomes = 0;  // of commands
};

inline FakeCopy::FakeCopy(Rig& rig, const StreamLoopsOptions& options)
    : loops(std::make_unique<StreamLoops>(rig.reactor, *this, rig.calls, options)), rig_(rig) {}

inline Task<Status> FakeCopy::look(std::function<void(Txn&)> look) {
  rig_.h.query([&look](Txn& txn) {
    look(txn);
    return 0;
  });
  co_return ok_status();
}

inline Task<Status> FakeCopy::execute(InternalMethod method, std::string bytes, Instant deadline) {
  const u64 began = term;
  co_await sleep_for(milliseconds(static_cast<i64>(1 + rig_.random.below(5))));
  // The log refuses a leader that was deposed, whatever it knows.
  if (began == 0 || began != rig_.term) {
    co_return Error(Code::kNotLeader);
  }
  const auto apply = [&]<class Request>(Request request, auto handler) -> Status {
    CHECK(request.ParseFromString(bytes));
    return rig_.h.change([&](Txn& txn) { return handler(txn, request); });
  };
  Status done = Error(Code::kUnknownMethod);
  if (method == InternalMethod::confirm_orders) {
    done = apply(record::ConfirmOrders(), confirm_orders);
  } else if (method == InternalMethod::change_replicas) {
    done = apply(record::ChangeReplicas(), change_replicas);
  } else if (method == InternalMethod::mark_replicas) {
    done = apply(record::MarkReplicas(), mark_replicas);
  } else if (method == InternalMethod::erase_orphans) {
    done = apply(record::EraseOrphans(), erase_orphans);
  }
  rig_.wake_all();
  if (rig_.random.chance(rig_.unknown_outcomes)) {
    co_await sleep_until(std::min(deadline, rig_.env.clock + seconds(1)));
    co_return Error(Code::kUnknownOutcome);
  }
  co_return done;
}

inline std::vector<pb::ServerInfo> FakeCopy::servers() {
  std::vector<pb::ServerInfo> out;
  for (auto& [number, server] : rig_.calls.servers) {
    pb::ServerInfo& info = out.emplace_back();
    info.set_server(number);
    info.set_address("host" + std::to_string(number) + ":7200");
    info.set_rack(server.rack);
    info.set_state(server.heard ? pb::SERVER_ALIVE : pb::SERVER_DEAD);
    info.set_admin(server.admin);
    for (const auto& [device, chunks] : server.devices) {
      pb::DeviceInfo& each = *info.add_devices();
      wire::set(*each.mutable_device(), device);
      each.set_capacity_bytes(200 * kGiB);
      each.set_free_bytes(server.free_bytes);
      each.set_chunks(chunks.size());
      each.set_failed(server.failed_devices.contains(device.low));
    }
  }
  return out;
}

}  // namespace pangu::master::test
