#include "sim/shared_tree_workload.h"

namespace pangu::sim {

namespace {

// A history that is much longer costs more than it finds.
constexpr size_t kCallsSoft = 3000;
// With so many open questions the rest of the history would be looked at for too long.
constexpr u64 kUnknownSoft = 12;
constexpr Duration kSlowly = milliseconds(500);
constexpr Duration kPatience = seconds(60);

}  // namespace

Task<void> SharedTreeWorkload::act(Actor& actor) {
  const u32 number = tree_.new_client();
  while (!actor.done()) {
    NamespaceOp op = tree_.draw(actor.prng);
    const std::string what = to_string(op);
    const Stopwatch watch(actor);
    const Status done =
        co_await tree_.perform(actor.client, actor.host.reactor(), number, std::move(op));
    actor.judge().operation_ended(done.code());
    // A file's length is a question of its own.
    watch.check(actor.stage.swarm.cluster.client.op_timeout * 2, what);
    if (done.code() == Code::kInternal) {
      actor.judge().fail(done.error().message());
    }
    co_await actor.think();
    if (tree_.history().calls().size() > kCallsSoft || tree_.unknown() > kUnknownSoft) {
      co_await sleep_for(kSlowly);
    }
  }
}

Task<void> SharedTreeWorkload::check(Actor& actor) {
  const Status read = co_await tree_.read_all(actor.client, actor.host.reactor(), kPatience);
  if (actor.judge().check(read, "the shared tree")) {
    actor.judge().check(tree_.check(), "the shared tree");
  }
}

}  // namespace pangu::sim
