#include "env/sim/net.h"

#include <cerrno>
#include <fmt/format.h>

#include "base/reached.h"
#include "env/sim/connection.h"
#include "env/sim/world.h"

namespace pangu::env::sim {

namespace {
constexpr u16 kFirstFreePort = 32768;
constexpr Duration kSynRetry = milliseconds(500);
}  // namespace

Network::Network(World& world) : world_(world) {}
Network::~Network() = default;

// ---- links

Link& Network::link(u32 from, u32 to) {
  const size_t needed = std::max(from, to) + size_t{1};
  if (links_.size() < needed) {
    links_.resize(needed);
  }
  if (links_[from].size() < needed) {
    links_[from].resize(needed);
  }
  Link& link = links_[from][to];
  if (link.latency.ns < 0) {
    const NetOptions& options = world_.options().net;
    link.latency = from == to ? options.loopback_latency
                              : Duration{static_cast<i64>(world_.prng().between(
                                    static_cast<u64>(options.latency_min.ns),
                                    static_cast<u64>(options.latency_max.ns)))};
  }
  return link;
}

Link& Network::link_of(const Connection& connection, size_t from_end) {
  return link(connection.ends[from_end].node->index(), connection.ends[1 - from_end].node->index());
}

bool Network::blocked(const Node& from, const Node& to) {
  return link(from.index(), to.index()).blocked();
}

Duration Network::draw_latency(const Connection& connection, size_t from_end) {
  const NetOptions& options = world_.options().net;
  Prng& prng = world_.prng();
  const Link& link = link_of(connection, from_end);
  const bool local = connection.ends[0].node == connection.ends[1].node;
  const u64 jitter = static_cast<u64>(options.jitter.ns) / (local ? 4 : 1);
  const u64 reach = jitter * (prng.below(32) == 0 ? 16 : 1) + 1;
  Duration latency = link.latency + link.extra + Duration{static_cast<i64>(prng.below(reach))};
  if (options.slow_rate > 0 && prng.chance(options.slow_rate)) {
    latency =
        latency + Duration{static_cast<i64>(prng.below(static_cast<u64>(options.slow_max.ns) + 1))};
  }
  return latency;
}

void Network::cut(const Node& from, const Node& to) {
  link(from.index(), to.index()).cut = true;
}
void Network::hang(const Node& from, const Node& to) {
  link(from.index(), to.index()).hung = true;
}
void Network::slow_down(const Node& from, const Node& to, Duration extra) {
  link(from.index(), to.index()).extra = extra;
}
void Network::heal(const Node& from, const Node& to) {
  heal_link(from.index(), to.index());
}

void Network::cut_both(const Node& a, const Node& b) {
  cut(a, b);
  cut(b, a);
}

void Network::heal_both(const Node& a, const Node& b) {
  heal(a, b);
  heal(b, a);
}

void Network::isolate(const Node& node) {
  for (const auto& other : world_.nodes()) {
    if (other.get() != &node) {
      cut_both(node, *other);
    }
  }
}

void Network::reconnect(const Node& node) {
  for (const auto& other : world_.nodes()) {
    heal_both(node, *other);
  }
}

void Network::partition(std::span<Node* const> side) {
  const auto inside = [&](const Node* node) {
    return std::find(side.begin(), side.end(), node) != side.end();
  };
  for (const auto& a : world_.nodes()) {
    for (const auto& b : world_.nodes()) {
      if (inside(a.get()) != inside(b.get())) {
        cut(*a, *b);
      }
    }
  }
}

void Network::heal_all() {
  for (u32 from = 0; from < links_.size(); ++from) {
    for (u32 to = 0; to < links_[from].size(); ++to) {
      heal_link(from, to);
    }
  }
}

void Network::heal_link(u32 from, u32 to) {
  Link& link = this->link(from, to);
  const bool was_blocked = link.blocked();
  link.cut = link.hung = false;
  link.extra = {};
  for (Connection* c = connections_.front(); was_blocked && c != nullptr;
       c = connections_.next(*c)) {
    for (size_t sender = 0; sender < 2; ++sender) {
      const End& a = c->ends[sender];
      const End& b = c->ends[1 - sender];
      if (a.node != nullptr && b.node != nullptr && a.node->index() == from &&
          b.node->index() == to) {
        resend_parked(*c, sender);
      }
    }
  }
}

void Network::reset_connections(const Node& a, const Node& b) {
  for (Connection* c = connections_.front(); c != nullptr; c = connections_.next(*c)) {
    const Node* from = c->ends[0].node;
    const Node* to = c->ends[1].node;
    if ((from == &a && to == &b) || (from == &b && to == &a)) {
      reset(*c);
    }
  }
}

size_t Network::connections_open() {
  size_t count = 0;
  for (Connection* c = connections_.front(); c != nullptr; c = connections_.next(*c)) {
    ++count;
  }
  return count;
}

// ---- connections

Connection& Network::new_connection() {
  if (free_.empty()) {
    pool_.push_back(std::make_unique<Connection>());
    free_.push_back(pool_.back().get());
  }
  Connection& connection = *free_.back();
  free_.pop_back();
  connection.net = this;
  connection.ends = {};
  connection.connect_tries = 0;
  for (Stream& stream : connection.streams) {
    ByteRing bytes = std::move(stream.bytes);
    bytes.clear();
    stream = Stream{};
    stream.bytes = std::move(bytes);
    stream.window =
        world_.prng().between(world_.options().net.window_min, world_.options().net.window_max);
  }
  connections_.push_back(connection);
  ++counters_.connections;
  return connection;
}

void Network::release(Connection& connection) {
  if (--connection.references == 0) {
    connection.unlink();
    free_.push_back(&connection);
  }
}

Event& Network::schedule(Connection& connection, size_t end, Duration delay, EventKind kind,
                         void (*fire)(World&, Event&)) {
  const End& actor = connection.ends[end];
  const Instant start = actor.env != nullptr ? actor.env->start_time() : world_.now();
  Event& event = world_.schedule(start + delay, kind, fire);
  event.object = &connection;
  event.a = end;
  event.node = actor.node->index();
  ++connection.references;
  return event;
}

Result<std::unique_ptr<Listener>> Network::listen(SimEnv& env, const Address& address) {
  const u32 node = env.node().index();
  const Address own = env.node().address();
  const bool wildcard = address.ip == Address{}.ip || (address.is_v4() && address.ip[12] == 0);
  if (!env.alive() || (!wildcard && !address.is_loopback() && address.ip != own.ip)) {
    return error_from_errno(EADDRNOTAVAIL, to_string(address));
  }
  Address bound = address;
  if (bound.port == 0) {
    u16& next = next_port_.try_emplace(node, kFirstFreePort).first->second;
    do {
      bound.port = next;
      next = next == 65535 ? kFirstFreePort : static_cast<u16>(next + 1);
    } while (listeners_.contains({node, bound.port}));
  }
  if (listeners_.contains({node, bound.port})) {
    return Error(Code::kInUse, to_string(bound));
  }
  auto listener = std::make_unique<SimListener>(*this, env, bound);
  listeners_[{node, bound.port}] = listener.get();
  return std::unique_ptr<Listener>(std::move(listener));
}

void Network::connect(SimEnv& env, Operation& op, const Address& to,
                      std::unique_ptr<Socket>& into) {
  Connection& connection = new_connection();
  ++connection.references;  // the connect under way
  End& client = connection.ends[0];
  client = End{.state = End::State::open, .node = &env.node(), .env = &env};
  client.address = to.is_loopback() ? to : env.node().address();
  u16& next = next_port_.try_emplace(env.node().index(), kFirstFreePort).first->second;
  client.address.port = next;
  next = next == 65535 ? kFirstFreePort : static_cast<u16>(next + 1);
  connection.ends[1].address = to;
  connection.connect_op = &op;
  connection.connect_into = &into;
  connection.connect_deadline = env.start_time() + world_.options().net.connect_timeout;
  Node* target = resolve(connection);
  if (target == nullptr) {
    fail_connect(connection, EHOSTUNREACH);
    return;
  }
  connection.ends[1].node = target;
  schedule(connection, 0, draw_latency(connection, 0), EventKind::connect, fire_syn);
}

Node* Network::resolve(const Connection& connection) {
  const Address& to = connection.ends[1].address;
  if (to.is_loopback()) {
    return connection.ends[0].node;
  }
  for (const auto& node : world_.nodes()) {
    if (node->address(to.port) == to) {
      return node.get();
    }
  }
  return nullptr;
}

void Network::try_again_or_give_up(Connection& connection, void (*fire)(World&, Event&)) {
  if (world_.now() >= connection.connect_deadline) {
    REACHED("sim net: a connect timed out");
    ++counters_.timeouts;
    fail_connect(connection, ETIMEDOUT);
    return;
  }
  const Duration delay = kSynRetry * (i64{1} << std::min(connection.connect_tries++, 4u));
  const Instant when = std::min(world_.now() + delay, connection.connect_deadline);
  schedule(connection, 0, when - world_.now(), EventKind::connect, fire);
}

void Network::fail_connect(Connection& connection, int error) {
  End& client = connection.ends[0];
  if (connection.connect_op == nullptr) {
    return;
  }
  client.state = End::State::closed;
  client.env->complete_soon(*std::exchange(connection.connect_op, nullptr), -error);
  release(connection);
}

void Network::fire_syn(World& world, Event& event) {
  Network& net = world.net();
  Connection& connection = *static_cast<Connection*>(event.object);
  const End& client = connection.ends[0];
  End& server = connection.ends[1];
  const auto found = net.listeners_.find({server.node->index(), server.address.port});
  if (connection.connect_op == nullptr) {
    // The process that wanted it is dead.
  } else if (net.link_of(connection, 0).blocked() || !server.node->powered()) {
    net.try_again_or_give_up(connection, fire_syn);
  } else if (found == net.listeners_.end() ||
             found->second->backlog_.size() >= SimListener::kBacklogMax ||
             (found->second->address_.is_loopback() && client.node != server.node)) {
    ++net.counters_.refused;
    net.schedule(connection, 1, net.draw_latency(connection, 1), EventKind::connect, fire_refused);
  } else {
    server.state = End::State::open;
    server.env = &found->second->env_;
    ++connection.references;  // the listener's queue
    found->second->backlog_.push_back(&connection);
    found->second->hand_over();
    net.schedule(connection, 1, net.draw_latency(connection, 1), EventKind::connect, fire_syn_ack);
  }
  net.release(connection);
}

void Network::fire_refused(World& world, Event& event) {
  Network& net = world.net();
  Connection& connection = *static_cast<Connection*>(event.object);
  if (connection.connect_op != nullptr && net.link_of(connection, 1).blocked()) {
    net.try_again_or_give_up(connection, fire_refused);
  } else {
    net.fail_connect(connection, ECONNREFUSED);
  }
  net.release(connection);
}

void Network::fire_syn_ack(World& world, Event& event) {
  Network& net = world.net();
  Connection& connection = *static_cast<Connection*>(event.object);
  if (connection.connect_op == nullptr) {
    if (connection.ends[0].node->powered()) {
      net.send_reset(connection, 1, ECONNRESET);
    }
  } else if (net.link_of(connection, 1).blocked()) {
    net.try_again_or_give_up(connection, fire_syn_ack);
  } else {
    *connection.connect_into = std::make_unique<SimSocket>(connection, 0);
    connection.ends[0].env->complete(*std::exchange(connection.connect_op, nullptr), 0);
    net.release(connection);
  }
  net.release(connection);
}

void Network::process_died(SimEnv& env, Crash how) {
  for (auto each = listeners_.begin(); each != listeners_.end();) {
    SimListener& listener = *(each++)->second;  // leave() takes it out of the map
    if (&listener.env_ == &env) {
      listener.leave();
    }
  }
  for (Connection* c = connections_.front(); c != nullptr;) {
    Connection* next = connections_.next(*c);
    for (size_t end = 0; end < 2; ++end) {
      if (c->ends[end].env != &env) {
        continue;
      }
      c->streams[end].send_op = nullptr;
      c->streams[1 - end].receive_op = nullptr;
      const bool connecting = end == 0 && std::exchange(c->connect_op, nullptr) != nullptr;
      if (how == Crash::process) {
        close(*c, end);
      } else {
        c->ends[end].state = End::State::silent;
        if (c->streams[1 - end].sent > c->streams[1 - end].consumed) {
          watch_for_timeout(*c, 1 - end);
        }
      }
      if (connecting) {
        release(*c);
        break;  // it may be gone
      }
    }
    c = next;
  }
}

}  // namespace pangu::env::sim
