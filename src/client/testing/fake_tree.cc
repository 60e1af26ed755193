#include "client/testing/fake_tree.h"

#include <algorithm>
#include <fmt/format.h>

#include "runtime/await.h"
#include "wire/path.h"

namespace pangu::client::testing {

namespace {

bool is_directory(const pb::Entry& entry) {
  return entry.type() == pb::ENTRY_DIRECTORY;
}

template <class M>
std::string bytes_of(const M& message) {
  return message.SerializeAsString();
}

}  // namespace

FakeTree::FakeTree(Reactor& reactor, Prng& prng, Gate& gate, u32 groups, u32 stream_groups)
    : reactor_(reactor), prng_(prng), gate_(gate), stream_groups_(stream_groups) {
  map_.set_version(1);
  pb::Subtree& all = *map_.add_subtrees();
  all.set_directory(wire::kRootDirectory);
  for (u32 i = 0; i < groups; ++i) {
    all.add_partitions(i);
    groups_[wire::kFirstNamespaceGroup + i];
  }
  groups_[group_of(wire::kRootDirectory)].directories[wire::kRootDirectory];
  truth_[wire::kRootDirectory];
}

u64 FakeTree::group_of(u64 directory) const {
  for (const pb::Subtree& subtree : map_.subtrees()) {
    if (subtree.number() == wire::subtree_of(directory)) {
      const u32 slot =
          wire::directory_slot(directory, static_cast<u32>(subtree.partitions_size()));
      return wire::kFirstNamespaceGroup + subtree.partitions(static_cast<int>(slot));
    }
  }
  check_failed("a directory of a known subtree", __FILE__, __LINE__);
}

void FakeTree::add_subtree(u32 number, std::vector<u32> partitions, const std::string& name) {
  pb::Subtree& subtree = *map_.add_subtrees();
  subtree.set_number(number);
  subtree.mutable_partitions()->Add(partitions.begin(), partitions.end());
  subtree.set_directory(wire::directory_id(number, wire::kRootDirectory, name, 0));
  subtree.set_parent(wire::kRootDirectory);
  subtree.set_name(name);
  map_.set_version(map_.version() + 1);
  pb::Entry entry;
  entry.set_name(name);
  entry.set_type(pb::ENTRY_DIRECTORY);
  entry.set_id(subtree.directory());
  Parts parts;
  parts[group_of(wire::kRootDirectory)].steps.push_back(
      {.kind = Kind::add_entry, .directory = wire::kRootDirectory, .name = name, .entry = entry});
  parts[group_of(entry.id())].steps.push_back(
      {.kind = Kind::add_directory, .directory = entry.id()});
  commit(parts);
  for (const auto& [group, part] : parts) {
    for (const Step& step : part.steps) {
      apply(groups_[group], step);
    }
  }
}

void FakeTree::forget_moves() {
  for (auto& [id, group] : groups_) {
    group.tree_floor = group.tree_epoch;
    group.moved.clear();
  }
}

Result<pb::Entry> FakeTree::find(const Tree& tree, const std::string& path) {
  const auto names = wire::parse_path(path);
  CHECK(names.ok());
  pb::Entry entry;
  entry.set_name("/");
  entry.set_type(pb::ENTRY_DIRECTORY);
  entry.set_id(wire::kRootDirectory);
  for (const std::string_view name : *names) {
    if (!is_directory(entry)) {
      return Error(Code::kNotDirectory);
    }
    const Entries& entries = tree.at(entry.id());
    const auto found = entries.find(std::string(name));
    if (found == entries.end()) {
      return Error(Code::kNotFound);
    }
    entry = found->second;
  }
  return entry;
}

Task<void> FakeTree::step() {
  if (step_max.ns > 0) {
    co_await sleep_for(nanoseconds(static_cast<i64>(prng_.below(static_cast<u64>(step_max.ns)))));
  }
}

bool FakeTree::is_locked(const Group& group, const pb::Place& place) const {
  for (const u64 id : place.chain()) {
    if (id == group.moving) {
      return true;
    }
  }
  if (group.directory_locks.contains(place.directory())) {
    return true;
  }
  if (!place.name().empty()) {
    return group.entry_locks.contains({place.directory(), place.name()});
  }
  const auto first = group.entry_locks.lower_bound({place.directory(), ""});
  return first != group.entry_locks.end() && first->first == place.directory();
}

Task<Status> FakeTree::wait_unlocked(u64 group, std::vector<pb::Place> places, Instant deadline) {
  while (std::any_of(places.begin(), places.end(), [&](const pb::Place& place) {
    return is_locked(groups_[group], place);
  })) {
    const bool woken = co_await unlocked_.wait(deadline);
    if (!woken) {
      co_return Error(Code::kBusy, "locked");
    }
  }
  co_return ok_status();
}

Status FakeTree::check_way(const Group& group, const pb::Place& place) const {
  if (place.chain().empty() || place.chain(place.chain_size() - 1) != place.directory() ||
      place.chain(0) != wire::kRootDirectory) {
    return Error(Code::kInvalidArgument, "the chain does not lead there");
  }
  if (place.seen() < group.tree_floor) {
    return Error(Code::kStale, "seen too long ago");
  }
  for (const u64 id : place.chain()) {
    const auto moved = group.moved.find(id);
    if (moved != group.moved.end() && moved->second > place.seen()) {
      return Error(Code::kStale, fmt::format("0x{:x} moved at {}", id, moved->second));
    }
  }
  return ok_status();
}

Task<FakeTree::Answer> FakeTree::lookup(u64 id, pb::LookupRequest request, Instant deadline) {
  const std::vector<pb::Place> places(request.places().begin(), request.places().end());
  CO_TRY_VOID(co_await wait_unlocked(id, places, deadline));
  Group& group = groups_[id];
  pb::LookupReply reply;
  reply.set_tree_epoch(group.tree_epoch);
  for (const pb::Place& place : places) {
    if (group_of(place.directory()) != id) {
      co_return Error(Code::kStale, "another group has it");
    }
    if (!request.guess()) {
      CO_TRY_VOID(check_way(group, place));
    }
    pb::LookupAnswer& answer = *reply.add_answers();
    for (const u64 above : place.chain()) {
      const auto moved = group.moved.find(above);
      answer.set_moved(
          std::max(answer.moved(), moved == group.moved.end() ? 0 : moved->second));
    }
    const auto directory = group.directories.find(place.directory());
    if (directory == group.directories.end()) {
      answer.set_result(pb::LOOKUP_NO_DIRECTORY);
      continue;
    }
    const auto entry = directory->second.find(place.name());
    if (entry == directory->second.end()) {
      answer.set_result(pb::LOOKUP_NO_ENTRY);
      continue;
    }
    answer.set_result(pb::LOOKUP_FOUND);
    *answer.mutable_entry() = entry->second;
  }
  co_return bytes_of(reply);
}

Task<FakeTree::Answer> FakeTree::list(u64 id, pb::ListRequest request, Instant deadline) {
  CO_TRY_VOID(co_await wait_unlocked(id, {request.place()}, deadline));
  Group& group = groups_[id];
  CO_TRY_VOID(check_way(group, request.place()));
  const auto directory = group.directories.find(request.place().directory());
  if (directory == group.directories.end()) {
    co_return Error(Code::kNotFound, "no such directory");
  }
  pb::ListReply reply;
  const int limit = request.limit() == 0 ? 1000 : static_cast<int>(request.limit());
  for (auto entry = directory->second.upper_bound(request.after());
       entry != directory->second.end(); ++entry) {
    if (reply.entries_size() == limit) {
      reply.set_more(true);
      break;
    }
    *reply.add_entries() = entry->second;
  }
  co_return bytes_of(reply);
}

Task<FakeTree::Answer> FakeTree::create(u64 id, pb::CreateFileRequest request, Instant deadline) {
  const pb::Place& place = request.place();
  CO_TRY_VOID(co_await wait_unlocked(id, {place}, deadline));
  Group& group = groups_[id];
  CO_TRY_VOID(check_way(group, place));
  const auto directory = group.directories.find(place.directory());
  if (directory == group.directories.end()) {
    co_return Error(Code::kNotFound, "no such directory");
  }
  pb::CreateFileReply reply;
  const auto known = directory->second.find(place.name());
  if (known != directory->second.end()) {
    if (is_directory(known->second)) {
      co_return Error(Code::kIsDirectory);
    }
    if (request.exclusive()) {
      co_return Error(Code::kAlreadyExists);
    }
    *reply.mutable_entry() = known->second;
    co_return bytes_of(reply);
  }
  pb::Entry entry;
  entry.set_name(place.name());
  entry.set_type(pb::ENTRY_FILE);
  const u32 index = static_cast<u32>(id - wire::kFirstNamespaceGroup);
  const u32 stream = static_cast<u32>(group.files % stream_groups_);
  entry.set_id(wire::file_id(stream, index, ++group.files).number);
  *entry.mutable_options() = request.options();
  ++files_;
  Parts parts;
  parts[id].steps.push_back({.kind = Kind::add_entry,
                             .directory = place.directory(),
                             .name = place.name(),
                             .entry = entry});
  apply(group, parts[id].steps.front());
  commit(parts);
  *reply.mutable_entry() = entry;
  reply.set_created(true);
  co_return bytes_of(reply);
}

Task<FakeTree::Answer> FakeTree::make_directory(u64 id, pb::MakeDirectoryRequest request,
                                                Instant deadline) {
  const pb::Place& place = request.place();
  CO_TRY_VOID(co_await wait_unlocked(id, {place}, deadline));
  CO_TRY_VOID(check_way(groups_[id], place));
  pb::MakeDirectoryReply reply;
  pb::Entry& entry = *reply.mutable_entry();
  entry.set_name(place.name());
  entry.set_type(pb::ENTRY_DIRECTORY);
  for (u64 version = 0;; ++version) {
    entry.set_id(wire::directory_id(wire::subtree_of(place.directory()), place.directory(),
                                    place.name(), version));
    Parts parts;
    parts[id].places.push_back(place);
    parts[id].steps.push_back({.kind = Kind::add_entry,
                               .directory = place.directory(),
                               .name = place.name(),
                               .entry = entry});
    parts[group_of(entry.id())].steps.push_back(
        {.kind = Kind::add_directory, .directory = entry.id()});
    auto done = co_await transact_patiently(std::move(parts), 0, deadline);
    if (done.ok()) {
      co_return bytes_of(reply);
    }
    if (done.code() != Code::kConflict) {
      co_return std::move(done).error();
    }
  }
}

// The root group's moves are parts in every namespace group.
void FakeTree::add_moves(Parts& parts, u64 moved) {
  if (moved != 0) {
    for (const auto& [id, group] : groups_) {
      parts[id];
    }
  }
}

Task<FakeTree::Answer> FakeTree::rename(u64 id, pb::RenameRequest request, Instant deadline) {
  const pb::Place& from = request.from();
  const pb::Place& to = request.to();
  const u64 here = group_of(from.directory());
  const u64 other = group_of(to.directory());
  while (is_locked(groups_[here], from) || is_locked(groups_[other], to)) {
    CO_TRY_VOID(co_await wait_unlocked(here, {from}, deadline));
    CO_TRY_VOID(co_await wait_unlocked(other, {to}, deadline));
  }
  CO_TRY_VOID(check_way(groups_[here], from));
  CO_TRY_VOID(check_way(groups_[other], to));
  const auto directory = groups_[here].directories.find(from.directory());
  if (directory == groups_[here].directories.end() || !directory->second.contains(from.name()) ||
      directory->second.at(from.name()).id() != request.moves()) {
    co_return Error(Code::kStale, "something else is there");
  }
  pb::Entry entry = directory->second.at(from.name());
  if (is_directory(entry) != (id == wire::kRootGroup)) {
    co_return Error(Code::kInvalidArgument, "the wrong group was asked");
  }
  const u64 moved = is_directory(entry) ? entry.id() : 0;
  if (moved != 0 && std::count(to.chain().begin(), to.chain().end(), moved) > 0) {
    co_return Error(Code::kInvalidArgument, "into itself");
  }
  Parts parts;
  parts[here].places.push_back(from);
  parts[here].steps.push_back({.kind = Kind::erase_entry,
                               .directory = from.directory(),
                               .name = from.name(),
                               .id = entry.id()});
  entry.set_name(to.name());
  Part& there = parts[other];
  there.places.push_back(to);
  there.steps.push_back({.kind = Kind::add_entry,
                         .directory = to.directory(),
                         .name = to.name(),
                         .entry = entry});
  add_moves(parts, moved);
  CO_TRY_VOID(co_await transact_patiently(std::move(parts), moved, deadline));
  co_return bytes_of(pb::RenameReply());
}

Task<FakeTree::Answer> FakeTree::remove(u64 id, pb::RemoveRequest request, Instant deadline) {
  const pb::Place& place = request.place();
  const u64 here = group_of(place.directory());
  CO_TRY_VOID(co_await wait_unlocked(here, {place}, deadline));
  CO_TRY_VOID(check_way(groups_[here], place));
  const auto directory = groups_[here].directories.find(place.directory());
  if (directory == groups_[here].directories.end() || !directory->second.contains(place.name())) {
    co_return Error(Code::kNotFound, "nothing is there");
  }
  const pb::Entry entry = directory->second.at(place.name());
  if (entry.id() != request.removes()) {
    co_return Error(Code::kStale, "something else is there");
  }
  if (request.tree() != (id == wire::kRootGroup) || (request.tree() && !is_directory(entry))) {
    co_return Error(Code::kInvalidArgument, "the wrong group was asked");
  }
  Parts parts;
  parts[here].places.push_back(place);
  parts[here].steps.push_back({.kind = Kind::erase_entry,
                               .directory = place.directory(),
                               .name = place.name(),
                               .id = entry.id()});
  if (is_directory(entry)) {
    parts[group_of(entry.id())].steps.push_back(
        {.kind = request.tree() ? Kind::bury_directory : Kind::erase_directory,
         .directory = entry.id()});
  }
  const u64 moved = request.tree() ? entry.id() : 0;
  add_moves(parts, moved);
  CO_TRY_VOID(co_await transact_patiently(std::move(parts), moved, deadline));
  if (!is_directory(entry) && on_remove_file) {
    on_remove_file(entry.id());
  }
  co_return bytes_of(pb::RemoveReply());
}

}  // namespace pangu::client::testing
