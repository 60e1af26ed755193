#include "master/state/steps.h"

#include <algorithm>
#include <set>

#include <fmt/core.h>

#include "base/reached.h"
#include "master/state/dead_directories.h"
#include "master/state/limits.h"
#include "master/state/locks.h"
#include "master/state/namespace.h"
#include "master/state/outbox.h"
#include "master/state/partition_map.h"
#include "wire/partition.h"
#include "wire/path.h"

namespace pangu::master {
namespace {

using record::Step;

Error wrong(std::string text) { return Error(Code::kInvalidArgument, std::move(text)); }

std::string shown(u64 directory) { return fmt::format("directory {:#018x}", directory); }

// The directory whose record a step changes; 0: it changes none.
u64 subject(const Step& step) {
  switch (step.what_case()) {
    case Step::kAddDirectory:
      return step.add_directory().id();
    case Step::kEraseDirectory:
      return step.erase_directory().id();
    case Step::kBuryDirectory:
      return step.bury_directory().id();
    case Step::kMoveDirectory:
      return step.move_directory().id();
    case Step::kStandsIn:
    case Step::kAddEntry:
    case Step::kEraseEntry:
    case Step::WHAT_NOT_SET:
      break;
  }
  return 0;
}

bool on_entry(const Step& step) { return step.has_add_entry() || step.has_erase_entry(); }
u64 directory_of(const Step& step) {
  return step.has_add_entry() ? step.add_entry().directory() : step.erase_entry().directory();
}
const std::string& name_of(const Step& step) {
  return step.has_add_entry() ? step.add_entry().name() : step.erase_entry().name();
}

// ---- whether the part makes sense, whatever the state is ----

Status check_entry_step(const record::Part& part, const Step& step) {
  TRY_VOID(wire::check_name(name_of(step)));
  const u64 directory = directory_of(step);
  const bool on_a_way =
      std::any_of(part.ways().begin(), part.ways().end(), [&](const record::Way& way) {
        return !way.chain().empty() && way.chain(way.chain_size() - 1) == directory;
      });
  if (!on_a_way) {
    return wrong(fmt::format("a step on an entry of {} without a way to it", shown(directory)));
  }
  const bool its_subject_goes =
      std::any_of(part.steps().begin(), part.steps().end(),
                  [&](const Step& other) { return subject(other) == directory; });
  if (its_subject_goes) {
    return wrong(fmt::format("a step on an entry of {}, and another on itself", shown(directory)));
  }
  if (step.has_add_entry()) {
    const record::Entry& entry = step.add_entry().entry();
    const bool file = entry.type() == pb::ENTRY_FILE;
    if ((!file && entry.type() != pb::ENTRY_DIRECTORY) || entry.id() == 0 ||
        (!file && entry.id() <= wire::kRootDirectory)) {
      return wrong("an entry that is neither a file nor a directory");
    }
  }
  return ok_status();
}

Status check_directory_step(const record::Part& part, const Step& step) {
  const u64 id = subject(step);
  if (id <= wire::kRootDirectory) {
    return wrong("a step on the root directory, or on none");
  }
  if (step.has_add_directory()) {
    return wire::check_name(step.add_directory().name());
  }
  if (step.has_erase_directory()) {
    return ok_status();
  }
  if (part.moved_directory() != id) {
    return wrong(fmt::format("{} goes with all that is below it, and the part is not numbered",
                             shown(id)));
  }
  return step.has_move_directory() ? wire::check_name(step.move_directory().name()) : ok_status();
}

Status check_form(const record::Part& part) {
  if (part.steps_size() > kStepsMax || part.ways_size() > kStepsMax) {
    return wrong(fmt::format("a part of {} steps and {} ways", part.steps_size(),
                             part.ways_size()));
  }
  for (const Step& step : part.steps()) {
    if (step.what_case() == Step::WHAT_NOT_SET) {
      return wrong("a step that does nothing known");
    }
    if (on_entry(step)) {
      TRY_VOID(check_entry_step(part, step));
    } else if (!step.has_stands_in()) {
      TRY_VOID(check_directory_step(part, step));
    }
  }
  if ((part.moved_directory() == 0) != (part.tree_epoch() == 0) ||
      part.moved_directory() == wire::kRootDirectory) {
    return wrong("a move has a directory and a number");
  }
  for (const record::Way& way : part.ways()) {
    const bool into_itself =
        part.moved_directory() != 0 && std::find(way.chain().begin(), way.chain().end(),
                                                 part.moved_directory()) != way.chain().end();
    if (into_itself) {
      return wrong(fmt::format("{} cannot be moved into itself", shown(part.moved_directory())));
    }
  }
  const std::vector<std::string> locks = lock_keys(part);
  if (std::set<std::string>(locks.begin(), locks.end()).size() != locks.size()) {
    return wrong("two steps of a part are about the same thing");
  }
  return ok_status();
}

// ---- whether it can be done in this state ----

Status check_unlocked(Txn& txn, const record::Part& part) {
  for (const std::string& lock : lock_keys(part)) {
    if (txn.has(lock)) {
      return Error(Code::kBusy, "what is to be changed is locked by another transaction");
    }
  }
  for (const Step& step : part.steps()) {
    if (on_entry(step) && directory_locked(txn, directory_of(step))) {
      return Error(Code::kBusy, fmt::format("{} is locked", shown(directory_of(step))));
    }
    if ((step.has_erase_directory() || step.has_bury_directory()) &&
        entries_locked(txn, subject(step))) {
      return Error(Code::kBusy, fmt::format("entries of {} are locked", shown(subject(step))));
    }
  }
  return ok_status();
}

Status check_add_entry(Txn& txn, const record::AddEntry& step) {
  if (!directory_exists(txn, step.directory())) {
    return Error(Code::kStale, fmt::format("{} is not there", shown(step.directory())));
  }
  if (find_entry(txn, step.directory(), step.name())) {
    return Error(Code::kAlreadyExists, fmt::format("'{}' exists", step.name()));
  }
  const bool directory = step.entry().type() == pb::ENTRY_DIRECTORY;
  if (directory && !group_of_directory(txn, step.entry().id())) {
    REACHED("master: an entry for a directory of a subtree that is not known yet");
    return Error(Code::kBusy, "this group has not heard of the directory's subtree yet");
  }
  return ok_status();
}

Status check_erase_entry(Txn& txn, const record::EraseEntry& step) {
  const auto entry = find_entry(txn, step.directory(), step.name());
  if (!entry || entry->id() != step.id()) {
    return Error(Code::kStale, fmt::format("'{}' is not there, or stands for something else",
                                           step.name()));
  }
  if (step.bury() && entry->type() != pb::ENTRY_FILE) {
    return wrong(fmt::format("'{}' is no file", step.name()));
  }
  return ok_status();
}

Status check_add_directory(Txn& txn, u64 id) {
  const std::optional<u64> group = group_of_directory(txn, id);
  if (group && *group != own_group(txn.meta())) {
    return wrong(fmt::format("{} belongs to group {}", shown(id), *group));
  }
  if (!group) {
    return Error(Code::kBusy, fmt::format("this group has not heard of the subtree of {} yet",
                                          shown(id)));
  }
  if (directory_id_taken(txn, id)) {
    return Error(Code::kConflict, fmt::format("the id of {} is taken", shown(id)));
  }
  return ok_status();
}

Status check_stands_in(Txn& txn, const record::StandsIn& step) {
  if (directory_locked(txn, step.id())) {
    return Error(Code::kBusy, fmt::format("{} is locked", shown(step.id())));
  }
  const auto directory = find_directory(txn, step.id());
  if (!directory || directory->parent() != step.parent()) {
    return Error(Code::kStale, fmt::format("{} does not stand in {}", shown(step.id()),
                                           shown(step.parent())));
  }
  return ok_status();
}

Status check_step(Txn& txn, const Step& step) {
  switch (step.what_case()) {
    case Step::kAddEntry:
      return check_add_entry(txn, step.add_entry());
    case Step::kEraseEntry:
      return check_erase_entry(txn, step.erase_entry());
    case Step::kAddDirectory:
      return check_add_directory(txn, step.add_directory().id());
    case Step::kStandsIn:
      return check_stands_in(txn, step.stands_in());
    case Step::kEraseDirectory:
    case Step::kBuryDirectory:
    case Step::kMoveDirectory:
    case Step::WHAT_NOT_SET:
      break;
  }
  if (!directory_exists(txn, subject(step))) {
    return Error(Code::kStale, fmt::format("{} is not there", shown(subject(step))));
  }
  if (step.has_erase_directory() &&
      !txn.scan_prefix(keys::entries_of(subject(step)), 1).entries.empty()) {
    return Error(Code::kNotEmpty, fmt::format("{} holds entries", shown(subject(step))));
  }
  return ok_status();
}

// A prepared part has checked its way; from then on the way must stay.
bool on_a_prepared_way(Txn& txn, u64 directory) {
  for (const KvEntry& row : txn.scan_prefix(keys::all_prepared(), kPreparedMax).entries) {
    record::Part part;
    txn.get(row.key, part);
    for (const record::Way& way : part.ways()) {
      if (std::find(way.chain().begin(), way.chain().end(), directory) != way.chain().end()) {
        return true;
      }
    }
  }
  return false;
}

Status check_move(Txn& txn, const record::Part& part) {
  const u64 next = txn.meta().tree_epoch() + 1;
  if (part.tree_epoch() < next) {
    return Error(Code::kConflict, fmt::format("the tree's change {} comes when {} is the next",
                                              part.tree_epoch(), next));
  }
  if (part.tree_epoch() > next || !txn.scan_prefix(keys::move_locks(), 1).entries.empty()) {
    return Error(Code::kBusy, "an earlier move of a directory has not finished here");
  }
  if (on_a_prepared_way(txn, part.moved_directory())) {
    REACHED("master: a move met a prepared part with its directory on the way");
    return Error(Code::kBusy, fmt::format("changes below {} are under way",
                                          shown(part.moved_directory())));
  }
  return ok_status();
}

// ---- doing it ----

void count_file(Txn& txn, const record::Entry& entry, bool added) {
  if (entry.type() == pb::ENTRY_FILE) {
    const u64 files = txn.meta().files();
    txn.meta().set_files(added ? files + 1 : files - 1);
  }
}

void add_entry(Txn& txn, const record::AddEntry& step) {
  txn.put(keys::entry(step.directory(), step.name()), step.entry());
  count_file(txn, step.entry(), true);
}

void erase_entry(Txn& txn, const record::EraseEntry& step) {
  const auto entry = find_entry(txn, step.directory(), step.name());
  if (!entry) {
    return;
  }
  txn.erase(keys::entry(step.directory(), step.name()));
  count_file(txn, *entry, false);
  if (step.bury()) {
    record::Message message;
    message.set_remove_file(entry->id());
    queue_message(txn, wire::stream_group_of({entry->id()}), std::move(message));
  }
}

void put_directory(Txn& txn, u64 id, u64 parent, const std::string& name) {
  record::Directory directory;
  directory.set_parent(parent);
  directory.set_name(name);
  txn.put(keys::directory(id), directory);
}

void do_step(Txn& txn, const Step& step) {
  record::Meta& meta = txn.meta();
  switch (step.what_case()) {
    case Step::kAddEntry:
      return add_entry(txn, step.add_entry());
    case Step::kEraseEntry:
      return erase_entry(txn, step.erase_entry());
    case Step::kAddDirectory: {
      const record::AddDirectory& add = step.add_directory();
      meta.set_directories(meta.directories() + 1);
      return put_directory(txn, add.id(), add.parent(), add.name());
    }
    case Step::kEraseDirectory:
      meta.set_directories(meta.directories() - 1);
      return txn.erase(keys::directory(subject(step)));
    case Step::kBuryDirectory:
      return bury_directory(txn, subject(step));
    case Step::kMoveDirectory: {
      const record::MoveDirectory& move = step.move_directory();
      return put_directory(txn, move.id(), move.parent(), move.name());
    }
    case Step::kStandsIn:
    case Step::WHAT_NOT_SET:
      return;
  }
}

// Tables Y and W have one row each for the directories that moved last.
void remember_move(Txn& txn, u64 directory, u64 tree_epoch) {
  record::Meta& meta = txn.meta();
  meta.set_tree_epoch(tree_epoch);
  if (const auto before = txn.get(keys::moved(directory))) {
    txn.erase(keys::moved_at(keys::decode_u64(*before)));
  } else {
    meta.set_moves_kept(meta.moves_kept() + 1);
  }
  txn.put(keys::moved(directory), keys::encode_u64(tree_epoch));
  txn.put(keys::moved_at(tree_epoch), keys::encode_u64(directory));
  if (meta.moves_kept() <= kMovesKept) {
    return;
  }
  const KvPage oldest = txn.scan_prefix(keys::moves(), 1);
  if (!oldest.entries.empty()) {
    const KvEntry& row = oldest.entries.front();
    txn.erase(keys::moved(keys::decode_u64(row.value)));
    txn.erase(row.key);
    meta.set_tree_floor(keys::decode_u64(std::string_view(row.key).substr(1)));
    meta.set_moves_kept(meta.moves_kept() - 1);
  }
}

}  // namespace

std::vector<std::string> lock_keys(const record::Part& part) {
  std::vector<std::string> locks;
  for (const Step& step : part.steps()) {
    if (on_entry(step)) {
      locks.push_back(keys::entry_lock(directory_of(step), name_of(step)));
    } else if (!step.has_stands_in()) {
      locks.push_back(keys::directory_lock(subject(step)));
    }
  }
  if (part.moved_directory() != 0) {
    locks.push_back(keys::move_lock(part.moved_directory()));
  }
  return locks;
}

Status check_part(Txn& txn, const record::Part& part) {
  TRY_VOID(check_form(part));
  for (const record::Way& way : part.ways()) {
    TRY_VOID(check_way(txn, way.chain(), way.seen()));
  }
  TRY_VOID(check_unlocked(txn, part));
  if (part.moved_directory() != 0) {
    TRY_VOID(check_move(txn, part));
  }
  for (const Step& step : part.steps()) {
    TRY_VOID(check_step(txn, step));
  }
  return ok_status();
}

void do_part(Txn& txn, const record::Part& part) {
  for (const Step& step : part.steps()) {
    do_step(txn, step);
  }
  if (part.moved_directory() != 0) {
    remember_move(txn, part.moved_directory(), part.tree_epoch());
  }
}

}  // namespace pangu::master
