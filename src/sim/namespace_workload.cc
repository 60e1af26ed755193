#include "sim/namespace_workload.h"

#include <algorithm>
#include <fmt/format.h>

#include "base/log.h"

namespace pangu::sim {

namespace {

using Kind = NamespaceOp::Kind;

constexpr std::string_view kNames[] = {"a", "b", "c"};
constexpr size_t kDepthMax = 3;

std::string draw_path(Prng& prng) {
  std::string out(kNames[prng.below(std::size(kNames))]);
  for (size_t depth = 1; depth < kDepthMax && prng.chance(0.5); ++depth) {
    out += '/';
    out += kNames[prng.below(std::size(kNames))];
  }
  return out;
}

// Errors that do not say whether the call would have been right. All but kUnknownOutcome say that
// it did not happen and never will.
bool no_answer(Code code) {
  return code == Code::kUnavailable || code == Code::kUnknownOutcome || code == Code::kNoSpace;
}

NamespaceAnswer error_answer(Code code) {
  return {.code = code, .items = {}, .files = 0, .directories = 0};
}

NamespaceItem item_of(const client::Entry& entry) {
  return {
      .name = entry.name, .directory = entry.type == client::EntryType::directory, .id = entry.id};
}

}  // namespace

NamespaceOp NamespaceWorkload::draw_op(Prng& prng, const Tree& tree) {
  static constexpr Kind kKinds[] = {Kind::create,         Kind::create, Kind::make_directory,
                                    Kind::make_directory, Kind::rename, Kind::rename,
                                    Kind::remove,         Kind::list,   Kind::stat};
  NamespaceOp op{.kind = kKinds[prng.below(std::size(kKinds))],
                 .path = draw_path(prng),
                 .to = {},
                 .flag = prng.chance(0.5)};
  const auto known = tree.model.paths();
  const bool wants_known = op.kind != Kind::create && op.kind != Kind::make_directory;
  if (wants_known && !known.empty() && prng.chance(0.7)) {
    op.path = known[prng.below(known.size())];
  }
  if (op.kind == Kind::rename) {
    op.to = draw_path(prng);
    op.flag = false;
  }
  if (op.kind == Kind::list || op.kind == Kind::stat) {
    op.flag = false;
    if (op.kind == Kind::list && prng.chance(0.4)) {
      op.path.clear();
    }
  }
  return op;
}

// Several pages are no picture of one moment.
Task<Result<NamespaceAnswer>> NamespaceWorkload::call_list(Actor& actor, std::string path,
                                                           bool in_pages) {
  NamespaceAnswer out;
  std::string after;
  for (;;) {
    const u32 limit = in_pages ? static_cast<u32>(actor.prng.between(1, 4)) : 0;
    auto page = co_await actor.client.list(path, after, limit);
    if (!page.ok()) {
      co_return std::move(page).error();
    }
    for (const client::Entry& entry : page->entries) {
      out.items.push_back(item_of(entry));
    }
    if (!page->more || page->entries.empty()) {
      co_return out;
    }
    after = page->entries.back().name;
  }
}

Task<Result<NamespaceAnswer>> NamespaceWorkload::call(Actor& actor, const Tree& tree,
                                                      NamespaceOp op) {
  const std::string& root = tree.root;  // trees stay
  const std::string path = op.path.empty() ? root : root + "/" + op.path;
  NamespaceAnswer out;
  switch (op.kind) {
    case Kind::create: {
      const client::CreateOptions options{.file = {}, .exclusive = op.flag};
      auto made = co_await actor.client.create(path, options);
      if (!made.ok()) {
        co_return std::move(made).error();
      }
      out.items.push_back(item_of(*made));
      co_return out;
    }
    case Kind::make_directory: {
      auto made = co_await actor.client.make_directory(path, op.flag);
      if (!made.ok()) {
        co_return std::move(made).error();
      }
      out.items.push_back(item_of(*made));
      co_return out;
    }
    case Kind::rename: {
      auto done = co_await actor.client.rename(path, root + "/" + op.to);
      if (!done.ok()) {
        co_return std::move(done).error();
      }
      co_return out;
    }
    case Kind::remove: {
      auto removed = co_await actor.client.remove(path, op.flag);
      if (!removed.ok()) {
        co_return std::move(removed).error();
      }
      // Nobody counts what is in a tree.
      out.files = *removed == client::Removed::file ? 1 : 0;
      out.directories = *removed == client::Removed::empty_directory ? 1 : 0;
      co_return out;
    }
    case Kind::list: {
      auto listed = co_await call_list(actor, path, tree.model.settled());
      co_return listed;
    }
    case Kind::stat: {
      auto info = co_await actor.client.stat(path);
      if (!info.ok()) {
        co_return std::move(info).error();
      }
      out.items.push_back(item_of(info->entry));
      co_return out;
    }
  }
  co_return Error(Code::kInternal);
}

Task<void> NamespaceWorkload::perform(Actor& actor, Tree& tree, NamespaceOp op) {
  tree.pending = op;
  const Stopwatch watch(actor);
  auto answer = co_await call(actor, tree, op);
  tree.pending.reset();
  actor.judge().operation_ended(answer.code());
  // A listing has many pages; a file's length is a question of its own.
  watch.check(actor.stage.swarm.cluster.client.op_timeout * (op.kind == Kind::list ? 10 : 2),
              to_string(op));
  if (!answer.ok() && no_answer(answer.code())) {
    LOG_DEBUG("{}: {} ended with {}", tree.root, to_string(op), answer.error().message());
    const bool in_steps = op.kind == Kind::make_directory && op.flag;
    if (answer.code() == Code::kUnknownOutcome || in_steps) {
      tree.model.unknown(op);
    }
    co_return;
  }
  const NamespaceAnswer told = answer.ok() ? *answer : error_answer(answer.code());
  LOG_DEBUG("{}: {} answered {}", tree.root, to_string(op), to_string(told));
  actor.judge().check(tree.model.answered(op, told), tree.root);
}

Task<void> NamespaceWorkload::act(Actor& actor) {
  Tree& tree = trees_.emplace_back();
  tree.root = fmt::format("/tree-{}", trees_.size());
  for (;;) {
    auto made = co_await actor.client.make_directory(tree.root, true);
    if (made.ok()) {
      break;
    }
    if (!no_answer(made.code())) {
      actor.judge().fail(fmt::format("mkdir {}: {}", tree.root, made.error().message()));
    }
    if (actor.done()) {
      co_return;
    }
  }
  while (!actor.done()) {
    if (actor.prng.chance(0.2)) {
      co_await race(actor);
    } else {
      co_await perform(actor, tree, draw_op(actor.prng, tree));
    }
    co_await actor.think();
  }
}

Task<void> NamespaceWorkload::race(Actor& actor) {
  if (races_.empty() || (races_.back().exists && actor.prng.chance(0.7))) {
    races_.emplace_back();
  }
  const size_t number = races_.size() - 1 - actor.prng.below(std::min<size_t>(races_.size(), 2));
  Race& race = races_[number];
  const std::string path = fmt::format("{}/{}", kRaceFolder, number);
  const bool existed = race.exists;
  ++race.begun;
  const client::CreateOptions options{.file = {}, .exclusive = true};
  auto made = co_await actor.client.create(path, options);
  const Code code = made.code();
  actor.judge().operation_ended(code);
  if (made.ok()) {
    ++race.created;
    if (race.created > 1 || existed) {
      actor.judge().fail(fmt::format("{} was created twice", path));
    }
    race.id = made->id;
  } else if (code == Code::kAlreadyExists) {
    ++race.failed;
    if (race.begun == race.failed) {
      actor.judge().fail(fmt::format("{} exists although nobody can have created it", path));
    }
  } else if (code == Code::kUnavailable || code == Code::kNoSpace) {
    ++race.failed;
  } else if (code != Code::kUnknownOutcome) {
    actor.judge().fail(fmt::format("create {}: {}", path, made.error().message()));
  }
  race.exists = race.exists || made.ok() || code == Code::kAlreadyExists;
}

Task<void> NamespaceWorkload::check_tree(Actor& actor, Tree& tree) {
  if (tree.pending) {
    tree.model.unknown(*tree.pending);
    tree.pending.reset();
  }
  std::vector<std::string> directories = {""};
  for (size_t i = 0; i < directories.size() && !actor.judge().failed(); ++i) {
    const NamespaceOp op{.kind = Kind::list, .path = directories[i], .to = {}, .flag = false};
    auto answer = co_await call(actor, tree, op);
    if (i == 0 && answer.code() == Code::kNotFound && tree.model.paths().empty()) {
      co_return;  // the process died before it had made its directory
    }
    if (!answer.ok()) {
      actor.judge().fail(fmt::format("{} at the end: {}", tree.root, answer.error().message()));
      co_return;
    }
    actor.judge().check(tree.model.answered(op, *answer), tree.root + " at the end");
    for (const NamespaceItem& item : answer->items) {
      if (item.directory) {
        directories.push_back(op.path.empty() ? item.name : op.path + "/" + item.name);
      }
    }
  }
}

Task<void> NamespaceWorkload::check_race(Actor& actor, std::string path, Race& race) {
  auto info = co_await actor.client.stat(path);
  if (!info.ok() && info.code() != Code::kNotFound) {
    actor.judge().fail(fmt::format("{} at the end: {}", path, info.error().message()));
  } else if (!info.ok() && race.exists) {
    actor.judge().fail(fmt::format("{} is gone", path));
  } else if (info.ok() && race.begun == race.failed) {
    actor.judge().fail(fmt::format("{} exists although nobody can have created it", path));
  } else if (info.ok() && race.id != 0 && info->entry.id != race.id) {
    actor.judge().fail(fmt::format("{} is not the file that was created", path));
  }
}

Task<void> NamespaceWorkload::check_all(Actor& actor) {
  for (Tree& tree : trees_) {
    co_await check_tree(actor, tree);
  }
  for (size_t i = 0; i < races_.size(); ++i) {
    co_await check_race(actor, fmt::format("{}/{}", kRaceFolder, i), races_[i]);
  }
}

}  // namespace pangu::sim
