#include "client/testing/fake_cluster.h"

#include "runtime/await.h"

namespace pangu::client::testing {

struct FakeCluster::Call {
  End* end = nullptr;
  wire::Method method = wire::Method::none;
  std::string body;
  std::string payload;
  Instant deadline;
  Instant arrival;
  bool lost = false;  // the caller hears that the connection broke
  bool executed = true;
  Event answered;
  Result<rpc::Response> response = Error(Code::kConnectionLost);
};

class FakeLinks final : public Links {
 public:
  explicit FakeLinks(FakeCluster& cluster) : cluster_(cluster) {}

  Task<Result<rpc::Response>> call(env::Address to, rpc::ConnectionKind, wire::Method method,
                                   Bytes body, rpc::Payload payload,
                                   rpc::CallOptions options) override {
    CHECK(options.deadline != Instant::never());
    if (stopped_) {
      co_return Error(Code::kClosed);
    }
    auto call = std::make_shared<FakeCluster::Call>();
    FakeCluster::End& end = cluster_.end_at(to);
    call->end = &end;
    call->method = method;
    call->body = std::string(as_text(body));
    for (size_t i = 0; i < payload.count; ++i) {
      call->payload += as_text(payload.pieces[i]);
    }
    call->deadline = options.deadline;
    const Instant now = cluster_.reactor().now();
    call->arrival = std::max(end.last_arrival, now + cluster_.delay());
    if (cluster_.prng().chance(cluster_.network().loss)) {
      call->lost = true;
      call->executed = cluster_.prng().chance(0.5);
      // What was lost may be carried out long after the caller went on.
      call->arrival = call->arrival + nanoseconds(static_cast<i64>(cluster_.prng().below(
                                          static_cast<u64>(cluster_.network().late_max.ns) + 1)));
    } else {
      end.last_arrival = call->arrival;
    }
    cluster_.gate_.spawn(cluster_.reactor(), "fake call", TaskClass::foreground,
                         cluster_.deliver(call));
    if (call->lost) {
      co_await sleep_for(cluster_.delay());
      co_return Error(Code::kConnectionLost, "the test cut it");
    }
    const bool answered = co_await call->answered.wait(options.deadline);
    if (stopped_) {
      co_return Error(Code::kClosed);
    }
    if (!answered) {
      co_return Error(Code::kTimeout);
    }
    co_return std::move(call->response);
  }
  Duration round_trip(const env::Address&) override { return microseconds(100); }
  Slice allocate(size_t bytes) override { return Slice::allocate(bytes); }
  Task<void> stop() override {
    stopped_ = true;
    co_return;
  }

 private:
  FakeCluster& cluster_;
  bool stopped_ = false;
};

FakeCluster::FakeCluster(u64 seed, size_t servers, const FakeMasterOptions& masters)
    : world_(seed), node_(world_.add_node("everything")), prng_(seed) {
  reactor_ = std::make_unique<Reactor>(node_.env(), ReactorOptions{});
  std::vector<std::string> addresses;
  for (u64 node = 1; node <= masters.processes; ++node) {
    auto end = std::make_unique<End>();
    end->address = *env::parse_address("127.0.0.1:" + std::to_string(7000 + node));
    end->node = node;
    addresses.push_back(env::to_string(end->address));
    masters_.push_back(std::move(end));
  }
  std::vector<FakeMaster::Server> listed;
  for (size_t i = 1; i <= servers; ++i) {
    auto end = std::make_unique<End>();
    end->address = *env::parse_address("127.0.0.1:" + std::to_string(7100 + i));
    const Uuid device{.high = 0xd, .low = i};
    end->server = std::make_unique<FakeChunkserver>(device);
    listed.push_back(
        {.id = static_cast<u32>(i), .address = env::to_string(end->address), .device = device});
    servers_.push_back(std::move(end));
  }
  master_ = std::make_unique<FakeMaster>(*reactor_, prng_, gate_, std::move(addresses), masters,
                                         std::move(listed));
}

FakeCluster::~FakeCluster() {
  for (const auto& end : masters_) {
    thaw(*end);
  }
  for (const auto& end : servers_) {
    thaw(*end);
  }
  run(gate_.close());
}

FakeCluster::End& FakeCluster::end_at(const env::Address& address) {
  for (const auto& ends : {&masters_, &servers_}) {
    for (const auto& end : *ends) {
      if (end->address == address) {
        return *end;
      }
    }
  }
  check_failed("a call to an address of the fake cluster", __FILE__, __LINE__,
               env::to_string(address));
}

Duration FakeCluster::delay() {
  return nanoseconds(static_cast<i64>(prng_.between(static_cast<u64>(network_.delay_min.ns),
                                                    static_cast<u64>(network_.delay_max.ns))));
}

Task<void> FakeCluster::deliver(std::shared_ptr<Call> call) {
  End& end = *call->end;
  const auto answer = [](Call& to, Result<rpc::Response> response) {
    to.response = std::move(response);
    to.answered.set();
  };
  if (end.faults.down) {
    co_await sleep_for(delay());
    answer(*call, Error(Code::kConnectFailed, "the test keeps it down"));
    co_return;
  }
  co_await sleep_until(call->arrival);
  if (end.faults.slow.ns > 0) {
    co_await sleep_for(end.faults.slow);
  }
  while (end.faults.frozen) {
    co_await end.thawed.wait();
  }
  if (end.faults.down) {
    answer(*call, Error(Code::kConnectionLost, "the test took it down"));
    co_return;
  }
  if (!call->executed) {
    co_return;
  }
  rpc::Reply reply;
  if (end.server != nullptr) {
    reply = co_await end.server->handle(call->method, std::move(call->body),
                                        std::move(call->payload), call->deadline);
  } else {
    reply = co_await master_->handle(end.node, call->method, std::move(call->body),
                                     call->deadline);
  }
  if (end.faults.silent || end.faults.down) {
    co_return;
  }
  co_await sleep_for(delay());
  const std::string& body = reply.body.empty() ? reply.text : reply.body;
  rpc::Response response{.code = reply.code,
                         .body = Slice::copy_of(as_bytes_of(std::string_view(body))),
                         .payload = std::move(reply.payload)};
  answer(*call, std::move(response));
}

void FakeCluster::thaw(End& end) {
  end.faults.frozen = false;
  end.thawed.wake_all();
}
void FakeCluster::thaw(u32 id) {
  thaw(*servers_[id - 1]);
}
void FakeCluster::thaw_master(u64 node) {
  thaw(*masters_[node - 1]);
}

void FakeCluster::restart(u32 id) {
  servers_[id - 1]->server->forget_volatile();
  servers_[id - 1]->faults = FakeFaults{};
}

std::unique_ptr<Links> FakeCluster::links() {
  return std::make_unique<FakeLinks>(*this);
}

std::unique_ptr<Client> FakeCluster::client(ClientOptions options) {
  options.masters.clear();
  for (const auto& end : masters_) {
    options.masters.push_back(env::to_string(end->address));
  }
  auto out = Client::with_links(*reactor_, options, links());
  CHECK(out.ok());
  return std::move(*out);
}

namespace {
Task<void> pass(Duration duration) {
  co_await sleep_for(duration);
}
}  // namespace

void FakeCluster::run_for(Duration duration) {
  run(pass(duration));
}

}  // namespace pangu::client::testing
