#include <fmt/format.h>

#include "app/client_session.h"
#include "app/report.h"
#include "base/prng.h"
#include "runtime/await.h"
#include "sim/shared_tree.h"

namespace pangu::app {

namespace {
constexpr u64 kClientsMax = 64;
constexpr u64 kProgressCalls = 200;
constexpr Duration kPatience = seconds(60);
// Tests give a cluster that long to answer again after the last fault.
constexpr Duration kThinkMax = milliseconds(10);

// What the clients of one run share.
struct Check {
  World& world;
  sim::SharedTree tree;
  Instant end;
  u64 calls = 0;
  u64 calls_ok = 0;
  std::optional<Error> trouble;
};

Status note_progress(Check& check, bool ok) {
  check.calls_ok += ok ? 1 : 0;
  if (++check.calls % kProgressCalls != 0) {
    return {};
  }
  return print(fmt::format("calls {}, {} of unknown outcome\n", check.calls, check.tree.unknown()));
}

Task<void> act(Check& check, client::Client& client, u64 seed) {
  const u32 number = check.tree.new_client();
  Prng prng(seed);
  while (check.world.now() < check.end && !check.trouble) {
    sim::NamespaceOp op = check.tree.draw(prng);
    const Status done =
        co_await check.tree.perform(client, check.world.reactor(), number, std::move(op));
    if (done.code() == Code::kInternal) {
      check.trouble = done.error();
    }
    Status noted = note_progress(check, done.ok());
    if (!noted.ok()) {
      check.trouble = std::move(noted).error();
    }
    const u64 pause_us = prng.below(static_cast<u64>(kThinkMax.us()));
    co_await sleep_for(microseconds(static_cast<i64>(pause_us)));
  }
}

Task<Status> act_all(Session session, Check& check, u64 clients, u64 seed) {
  CO_TRY(options, client_options(session.invocation.config));
  std::vector<std::unique_ptr<client::Client>> opened;
  Status status;
  for (u64 i = 0; i < clients && status.ok(); ++i) {
    auto client = co_await client::Client::open(session.world.reactor(), options);
    if (client.ok()) {
      opened.push_back(std::move(*client));
    } else {
      status = std::move(client).error();
    }
  }
  Gate gate;
  for (size_t i = 0; i < opened.size() && status.ok(); ++i) {
    gate.spawn(session.world.reactor(), "check", TaskClass::foreground,
               act(check, *opened[i], hash_combine(seed, i)));
  }
  co_await gate.close();
  for (const auto& client : opened) {
    co_await client->stop();
  }
  co_return status;
}

Task<Status> check_namespace(Session session) {
  const u64 seed = session.args().given("seed") ? session.args().count("seed")
                                                : session.world.env().random();
  const std::string root = fmt::format("{}/check-{:016x}", session.args().text("dir"),
                                       session.world.env().random());
  auto made = co_await session.client.make_directory(root, true);
  if (!made.ok()) {
    co_return std::move(made).error();
  }
  CO_TRY_VOID(print(fmt::format("{} clients change {}, seed {}\n", session.args().count("clients"),
                                root, seed)));
  Check check{.world = session.world,
              .tree = sim::SharedTree(root),
              .end = session.world.now() +
                     seconds(static_cast<i64>(session.args().count("seconds"))),
              .trouble = {}};
  Status acted = co_await act_all(session, check, session.args().count("clients"), seed);
  CO_TRY_VOID(std::move(acted));
  if (check.trouble) {
    co_return std::move(*check.trouble);
  }
  Status read = co_await check.tree.read_all(session.client, session.world.reactor(), kPatience);
  CO_TRY_VOID(std::move(read));
  CO_TRY_VOID(check.tree.check());
  const auto removed = co_await session.client.remove(root, true);
  if (!removed.ok()) {
    co_return removed.error();
  }
  co_return print(fmt::format("linearizable: {} calls, {} succeeded, {} of unknown outcome\n",
                              check.calls, check.calls_ok, check.tree.unknown()));
}

Status run_check_namespace(Invocation& invocation) {
  const u64 clients = invocation.args.count("clients");
  if (clients == 0 || clients > kClientsMax) {
    return Error(Code::kInvalidArgument, fmt::format("--clients is 1 to {}", kClientsMax));
  }
  return run_with_client(invocation, check_namespace);
}

constexpr Flag kFlags[] = {
    {.name = "seconds", .kind = ValueKind::count, .value_name = "N",
     .help = "how long to change things", .fallback = "5"},
    {.name = "clients", .kind = ValueKind::count, .value_name = "N",
     .help = "how many at once", .fallback = "8"},
    {.name = "dir", .kind = ValueKind::text, .value_name = "PATH",
     .help = "directory of the cluster to work in", .fallback = ""},
    {.name = "seed", .kind = ValueKind::count, .value_name = "N",
     .help = "draws the calls; each run has its own otherwise"},
};
}  // namespace

extern const Command kCheckNamespace;
const Command kCheckNamespace = {
    .name = "check namespace",
    .group = CommandGroup::other,
    .summary = "Changes one directory tree with many clients at once, and checks every answer",
    .flags = kFlags,
    .details = "Works in a fresh directory and removes it if all is well. Prints a line for every "
               "few\nhundred calls. Exit code 1: no order of the calls explains what was answered.",
    .examples = "pangu check namespace --seconds 30 --clients 8",
    .run = run_check_namespace,
    .hidden = true,
};

}  // namespace pangu::app
