#include "rpc/server.h"

#include "base/log.h"
#include "base/reached.h"
#include "rpc/connection.h"
#include "runtime/await.h"

namespace pangu::rpc {

namespace {

// After an accept that failed (no file descriptors, say).
constexpr Duration kAcceptRetry = milliseconds(10);

struct AcceptLease {
  std::shared_ptr<ServerCore> core;
  Gate::Holder holder;
  explicit AcceptLease(std::shared_ptr<ServerCore> c) : core(std::move(c)), holder(core->gate) {}
  AcceptLease(AcceptLease&&) = default;
  AcceptLease& operator=(AcceptLease&&) = delete;
};

Task<void> accept_connections(AcceptLease lease) {
  ServerCore& core = *lease.core;
  while (!core.stopping) {
    std::unique_ptr<env::Socket> socket;
    const i64 result = co_await async_accept(*core.listener, socket);
    if (core.stopping) {
      break;
    }
    if (result < 0) {
      REACHED("rpc: accept failed");
      co_await sleep_for(kAcceptRetry);
      continue;
    }
    if (core.counters.connections_open >= core.options.connections_max) {
      REACHED("rpc: too many connections");
      ++core.counters.connections_refused;
      continue;
    }
    ++core.counters.connections_accepted;
    ++core.counters.connections_open;
    auto connection = std::make_shared<Connection>(lease.core, std::move(socket));
    core.connections.push_back(*connection);
    core.reactor.spawn("rpc: read requests", TaskClass::control,
                       Connection::serve(Connection::Lease(std::move(connection))));
  }
}

}  // namespace

Server::Server(Reactor& reactor, Service& service, BufferPool& pool, const ServerOptions& options)
    : core_(std::make_shared<ServerCore>(reactor, service, pool, options)) {}

Server::~Server() {
  CHECK_NOTE(core_->stopped || core_->listener == nullptr || core_->reactor.abandoned(),
             "a Server was destroyed before stop() returned");
}

Status Server::listen(const env::Address& address) {
  CHECK(core_->listener == nullptr && !core_->stopping);
  if (!address.is_loopback() && !core_->options.identity.key) {
    return Error(Code::kPermission,
                 fmt::format("listening on {} without a cluster key would let anybody on that "
                             "network read and write: set cluster.key (32 bytes, the same on every "
                             "machine of the cluster), or listen on 127.0.0.1",
                             env::to_string(address)));
  }
  TRY(listener, core_->reactor.env().listen(address));
  core_->listener = std::move(listener);
  core_->reactor.spawn("rpc: accept", TaskClass::control, accept_connections(AcceptLease(core_)));
  return ok_status();
}

env::Address Server::address() const {
  CHECK_NOTE(core_->listener != nullptr, "the server does not listen yet");
  return core_->listener->address();
}

Task<void> Server::stop() {
  core_->stopping = true;
  if (core_->listener != nullptr) {
    core_->listener->shutdown();
  }
  for (Connection* each = core_->connections.front(); each != nullptr;
       each = core_->connections.next(*each)) {
    each->close();
  }
  co_await core_->gate.close();
  core_->stopped = true;
}

const ServerCounters& Server::counters() const {
  return core_->counters;
}

}  // namespace pangu::rpc
