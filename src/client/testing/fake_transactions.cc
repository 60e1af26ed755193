#include <algorithm>

#include "client/testing/fake_tree.h"
#include "runtime/await.h"

// Changes of a FakeTree that touch several groups.
namespace pangu::client::testing {

Status FakeTree::check_step(const Group& group, const Step& step) const {
  const auto directory = group.directories.find(step.directory);
  const bool there = directory != group.directories.end();
  const bool entry_locked = group.entry_locks.contains({step.directory, step.name});
  switch (step.kind) {
    case Kind::add_entry:
    case Kind::erase_entry:
      if (entry_locked || group.directory_locks.contains(step.directory)) {
        return Error(Code::kBusy);
      }
      if (!there) {
        return Error(Code::kStale, "the directory is gone");
      }
      if (step.kind == Kind::add_entry) {
        return directory->second.contains(step.name) ? Status(Code::kAlreadyExists) : ok_status();
      }
      return directory->second.contains(step.name) &&
                     directory->second.at(step.name).id() == step.id
                 ? ok_status()
                 : Status(Code::kStale);
    case Kind::add_directory:
      return there || group.directory_locks.contains(step.directory) ? Status(Code::kConflict)
                                                                     : ok_status();
    case Kind::erase_directory:
    case Kind::bury_directory: {
      if (group.directory_locks.contains(step.directory)) {
        return Error(Code::kBusy);
      }
      if (!there) {
        return Error(Code::kStale);
      }
      const auto lock = group.entry_locks.lower_bound({step.directory, ""});
      if (lock != group.entry_locks.end() && lock->first == step.directory) {
        return Error(Code::kBusy);
      }
      const bool keeps = step.kind == Kind::erase_directory && !directory->second.empty();
      return keeps ? Status(Code::kNotEmpty) : ok_status();
    }
  }
  return ok_status();
}

Status FakeTree::check(const Group& group, const Part& part) const {
  for (const pb::Place& place : part.places) {
    if (std::count(place.chain().begin(), place.chain().end(), group.moving) > 0) {
      return Error(Code::kBusy);
    }
    TRY_VOID(check_way(group, place));
  }
  for (const Step& step : part.steps) {
    TRY_VOID(check_step(group, step));
  }
  return ok_status();
}

void FakeTree::lock(Group& group, const Part& part, bool locked) {
  for (const pb::Place& place : part.places) {
    for (const u64 id : place.chain()) {
      if (locked) {
        group.on_ways.insert(id);
      } else {
        group.on_ways.erase(group.on_ways.find(id));
      }
    }
  }
  for (const Step& step : part.steps) {
    const bool entry = step.kind == Kind::add_entry || step.kind == Kind::erase_entry;
    if (entry && locked) {
      group.entry_locks.insert({step.directory, step.name});
    } else if (entry) {
      group.entry_locks.erase({step.directory, step.name});
    } else if (locked) {
      group.directory_locks.insert(step.directory);
    } else {
      group.directory_locks.erase(step.directory);
    }
  }
}

void FakeTree::apply(Group& group, const Step& step) {
  switch (step.kind) {
    case Kind::add_entry:
      group.directories[step.directory][step.name] = step.entry;
      break;
    case Kind::erase_entry:
      group.directories[step.directory].erase(step.name);
      break;
    case Kind::add_directory:
      group.directories[step.directory];
      break;
    case Kind::erase_directory:
    case Kind::bury_directory:
      group.directories.erase(step.directory);
      break;
  }
}

void FakeTree::commit(const Parts& parts) {
  Group all;
  all.directories = std::move(truth_);
  for (const auto& [id, part] : parts) {
    for (const Step& step : part.steps) {
      apply(all, step);
    }
  }
  truth_ = std::move(all.directories);
  ++commits;
  if (on_commit) {
    on_commit();
  }
}

void FakeTree::finish_in(u64 id, const Part& part, u64 moved, u64 epoch) {
  Group& group = groups_[id];
  for (const Step& step : part.steps) {
    apply(group, step);
  }
  lock(group, part, false);
  if (moved != 0) {
    group.moving = 0;
    group.moved[moved] = epoch;
    group.tree_epoch = epoch;
  }
  unlocked_.wake_all();
}

Task<void> FakeTree::finish(Parts parts, u64 moved, u64 epoch) {
  std::vector<u64> order;
  for (const auto& [id, part] : parts) {
    order.push_back(id);
  }
  while (!order.empty()) {
    co_await step();
    const size_t place = prng_.below(order.size());
    finish_in(order[place], parts[order[place]], moved, epoch);
    order.erase(order.begin() + static_cast<std::ptrdiff_t>(place));
  }
  if (moved != 0) {
    moving_ = false;
    unlocked_.wake_all();
  }
}

Task<Status> FakeTree::transact(Parts parts, u64 moved) {
  if (moved != 0 && moving_) {
    co_return Error(Code::kBusy);
  }
  moving_ = moving_ || moved != 0;
  std::vector<u64> prepared;
  Status status;
  for (const auto& [id, part] : parts) {
    co_await step();
    Group& group = groups_[id];
    status = group.on_ways.contains(moved) ? Status(Code::kBusy) : check(group, part);
    if (!status.ok()) {
      break;
    }
    lock(group, part, true);
    if (moved != 0) {
      group.moving = moved;
    }
    prepared.push_back(id);
  }
  if (!status.ok()) {
    for (const u64 id : prepared) {
      lock(groups_[id], parts[id], false);
      if (moved != 0) {
        groups_[id].moving = 0;
      }
    }
    moving_ = moving_ && moved == 0;
    unlocked_.wake_all();
    co_return status;
  }
  co_await step();
  u64 epoch = 0;
  if (moved != 0) {
    epoch = ++root_epoch_;
    ++moves;
  }
  commit(parts);
  if (step_max.ns == 0) {
    co_await finish(std::move(parts), moved, epoch);
  } else {
    gate_.spawn(reactor_, "finish", TaskClass::foreground, finish(std::move(parts), moved, epoch));
  }
  co_return ok_status();
}

Task<Status> FakeTree::transact_patiently(Parts parts, u64 moved, Instant deadline) {
  for (;;) {
    auto done = co_await transact(parts, moved);
    if (done.code() != Code::kBusy) {
      co_return done;
    }
    const bool woken = co_await unlocked_.wait(
        std::min(deadline, reactor_.now() + milliseconds(1)));
    if (!woken && reactor_.now() >= deadline) {
      co_return Error(Code::kBusy, "locked");
    }
  }
}

}  // namespace pangu::client::testing
