#include "master/state/directory.h"

#include <fmt/core.h>

#include "base/hash.h"
#include "base/reached.h"
#include "master/state/file_options.h"
#include "master/state/limits.h"
#include "master/state/reclaim.h"
#include "wire/path.h"

namespace pangu::master {
namespace {

using Names = std::vector<std::string_view>;

bool is_directory(const record::Entry& entry) { return entry.type() == pb::ENTRY_DIRECTORY; }

record::Entry root_entry() {
  record::Entry entry;
  entry.set_type(pb::ENTRY_DIRECTORY);
  entry.set_id(keys::kRootDirectory);
  return entry;
}

void describe(pb::Entry& out, std::string_view name, const record::Entry& entry) {
  out.set_name(name.data(), name.size());
  out.set_type(static_cast<pb::EntryType>(entry.type()));
  out.set_id(entry.id());
  out.set_created_us(entry.created_us());
  if (!is_directory(entry)) {
    out.mutable_options()->set_copies_max(entry.copies_max());
    out.mutable_options()->set_copies_min(entry.copies_min());
    out.mutable_options()->set_chunk_bytes(entry.chunk_bytes());
  }
}

std::string joined(const Names& names, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) {
    out.append("/").append(names[i]);
  }
  return out.empty() ? "/" : out;
}

// The directories on the way through the first `count` names, the root first.
Result<std::vector<u64>> walk(Txn& txn, const Names& names, size_t count) {
  std::vector<u64> ids{keys::kRootDirectory};
  for (size_t i = 0; i < count; ++i) {
    record::Entry entry;
    if (!txn.get(keys::entry(ids.back(), names[i]), entry)) {
      return Error(Code::kNotFound, fmt::format("'{}' does not exist", joined(names, i + 1)));
    }
    if (!is_directory(entry)) {
      return Error(Code::kNotDirectory, fmt::format("'{}' is a file", joined(names, i + 1)));
    }
    ids.push_back(entry.id());
  }
  return ids;
}

// The directory that holds (or would hold) the last of `names`. REQUIRES: names is not empty
Result<u64> parent_of(Txn& txn, const Names& names) {
  TRY(ids, walk(txn, names, names.size() - 1));
  return ids.back();
}

Result<record::Entry> find(Txn& txn, const Names& names) {
  if (names.empty()) {
    return root_entry();
  }
  TRY(parent, parent_of(txn, names));
  record::Entry entry;
  if (!txn.get(keys::entry(parent, names.back()), entry)) {
    return Error(Code::kNotFound,
                 fmt::format("'{}' does not exist", joined(names, names.size())));
  }
  return entry;
}

// Almost always version 0. A directory that keeps the id after it was renamed away, or one that is
// still being freed, makes the next version necessary; a name that is used that way all the time
// gets versions from the log instead of a longer and longer search.
u64 free_directory_id(Txn& txn, const ApplyContext& context, u64 parent, std::string_view name) {
  constexpr u64 kTriedInOrder = 8;
  for (u64 attempt = 0;; ++attempt) {
    const u64 version = attempt < kTriedInOrder ? attempt : context.index + attempt;
    const u64 id = directory_id(parent, name, version);
    const bool taken = id <= keys::kRootDirectory || txn.has(keys::directory(id)) ||
                       txn.has(keys::dead_directory(id)) || txn.has(keys::purge(id));
    if (!taken) {
      return id;
    }
    REACHED("master: directory id taken, next version used");
  }
}

record::Entry add_directory(Txn& txn, const ApplyContext& context, u64 parent,
                            std::string_view name) {
  record::Entry entry;
  entry.set_type(pb::ENTRY_DIRECTORY);
  entry.set_id(free_directory_id(txn, context, parent, name));
  entry.set_created_us(context.wall_clock_us);
  txn.put(keys::entry(parent, name), entry);
  txn.put(keys::directory(entry.id()), std::string());
  txn.meta().set_directories(txn.meta().directories() + 1);
  return entry;
}

record::Entry add_file(Txn& txn, const ApplyContext& context, u64 parent, std::string_view name,
                       const pb::FileOptions& options) {
  record::Meta& meta = txn.meta();
  record::Entry entry;
  entry.set_type(pb::ENTRY_FILE);
  entry.set_id(meta.next_file());
  entry.set_created_us(context.wall_clock_us);
  entry.set_copies_max(options.copies_max());
  entry.set_copies_min(options.copies_min());
  entry.set_chunk_bytes(options.chunk_bytes());
  record::Stream stream;
  stream.set_state(pb::STREAM_NEW);
  stream.set_copies_max(options.copies_max());
  stream.set_copies_min(options.copies_min());
  stream.set_chunk_bytes(options.chunk_bytes());
  txn.put(keys::entry(parent, name), entry);
  txn.put(keys::stream({entry.id()}), stream);
  meta.set_next_file(meta.next_file() + 1);
  meta.set_files(meta.files() + 1);
  return entry;
}

}  // namespace

u64 directory_id(u64 parent, std::string_view name, u64 version) {
  return hash_combine(hash64(name, parent), version);
}

Result<pb::LookupReply> lookup(Txn& txn, const pb::LookupRequest& request) {
  TRY(names, wire::parse_path(request.path()));
  TRY(entry, find(txn, names));
  pb::LookupReply reply;
  describe(*reply.mutable_entry(), names.empty() ? "/" : names.back(), entry);
  return reply;
}

Result<pb::ListReply> list(Txn& txn, const pb::ListRequest& request) {
  TRY(names, wire::parse_path(request.path()));
  TRY(directory, find(txn, names));
  if (!is_directory(directory)) {
    return Error(Code::kNotDirectory, fmt::format("'{}' is a file", request.path()));
  }
  const u32 wanted = request.limit() == 0 ? kListDefault : std::min(request.limit(), kListMax);
  const std::string prefix = keys::entries_of(directory.id());
  const std::string from = request.after().empty() ? prefix : prefix + request.after() + '\0';
  KvPage page = txn.scan(from, prefix_end(prefix), wanted);
  pb::ListReply reply;
  size_t bytes = 0;
  for (const KvEntry& found : page.entries) {
    if (bytes > kReplyBytesSoft) {
      page.more = true;
      break;
    }
    record::Entry entry;
    if (!entry.ParseFromString(found.value)) {
      return Error(Code::kCorrupt, fmt::format("the record of an entry of '{}' does not parse",
                                               request.path()));
    }
    describe(*reply.add_entries(), std::string_view(found.key).substr(prefix.size()), entry);
    bytes += found.key.size() + found.value.size() + 16;
  }
  reply.set_more(page.more);
  return reply;
}

Result<pb::CreateFileReply> create_file(Txn& txn, const ApplyContext& context,
                                        const pb::CreateFileRequest& request) {
  TRY(names, wire::parse_path(request.path()));
  TRY(options, checked_options(request.options()));
  if (names.empty()) {
    return Error(Code::kIsDirectory, "'/' is the root directory");
  }
  TRY(parent, parent_of(txn, names));
  pb::CreateFileReply reply;
  record::Entry entry;
  if (!txn.get(keys::entry(parent, names.back()), entry)) {
    entry = add_file(txn, context, parent, names.back(), options);
    reply.set_created(true);
  } else if (is_directory(entry)) {
    return Error(Code::kIsDirectory, fmt::format("'{}' is a directory", request.path()));
  } else if (request.exclusive()) {
    return Error(Code::kAlreadyExists, fmt::format("'{}' exists", request.path()));
  }
  describe(*reply.mutable_entry(), names.back(), entry);
  return reply;
}

Result<pb::MakeDirectoryReply> make_directory(Txn& txn, const ApplyContext& context,
                                              const pb::MakeDirectoryRequest& request) {
  TRY(names, wire::parse_path(request.path()));
  pb::MakeDirectoryReply reply;
  record::Entry entry = root_entry();
  bool made = false;
  for (size_t i = 0; i < names.size(); ++i) {
    const u64 parent = entry.id();
    const bool last = i + 1 == names.size();
    if (txn.get(keys::entry(parent, names[i]), entry)) {
      if (!is_directory(entry)) {
        return Error(last ? Code::kAlreadyExists : Code::kNotDirectory,
                     fmt::format("'{}' is a file", joined(names, i + 1)));
      }
      continue;
    }
    if (!last && !request.parents()) {
      return Error(Code::kNotFound, fmt::format("'{}' does not exist", joined(names, i + 1)));
    }
    entry = add_directory(txn, context, parent, names[i]);
    made = true;
  }
  if (!made && !request.parents()) {
    return Error(Code::kAlreadyExists, fmt::format("'{}' exists", request.path()));
  }
  describe(*reply.mutable_entry(), names.empty() ? "/" : names.back(), entry);
  return reply;
}

Result<pb::RenameReply> rename(Txn& txn, const ApplyContext&, const pb::RenameRequest& request) {
  TRY(from, wire::parse_path(request.from()));
  TRY(to, wire::parse_path(request.to()));
  if (from.empty() || to.empty()) {
    return Error(Code::kInvalidArgument, "the root directory cannot be renamed or replaced");
  }
  TRY(from_parent, parent_of(txn, from));
  record::Entry entry;
  if (!txn.get(keys::entry(from_parent, from.back()), entry)) {
    return Error(Code::kNotFound, fmt::format("'{}' does not exist", request.from()));
  }
  TRY(to_directories, walk(txn, to, to.size() - 1));
  if (is_directory(entry) && std::find(to_directories.begin(), to_directories.end(),
                                       entry.id()) != to_directories.end()) {
    return Error(Code::kInvalidArgument, fmt::format("'{}' cannot be moved into itself ('{}')",
                                                     request.from(), request.to()));
  }
  const std::string to_key = keys::entry(to_directories.back(), to.back());
  if (txn.has(to_key)) {
    return Error(Code::kAlreadyExists, fmt::format("'{}' exists", request.to()));
  }
  txn.erase(keys::entry(from_parent, from.back()));
  txn.put(to_key, entry);
  return pb::RenameReply();
}

Result<Removal> remove(Txn& txn, const ApplyContext&, const pb::RemoveRequest& request) {
  TRY(names, wire::parse_path(request.path()));
  if (names.empty()) {
    return Error(Code::kInvalidArgument, "the root directory cannot be removed");
  }
  TRY(parent, parent_of(txn, names));
  const std::string key = keys::entry(parent, names.back());
  record::Entry entry;
  if (!txn.get(key, entry)) {
    return Error(Code::kNotFound, fmt::format("'{}' does not exist", request.path()));
  }
  Removal removal;
  if (!is_directory(entry)) {
    txn.erase(key);
    bury_file(txn, {entry.id()});
    removal.reply.set_files(1);
    return removal;
  }
  const bool empty = txn.scan_prefix(keys::entries_of(entry.id()), 1).entries.empty();
  if (!empty && !request.recursive()) {
    return Error(Code::kNotEmpty, fmt::format("'{}' holds entries", request.path()));
  }
  txn.erase(key);
  if (empty) {
    txn.erase(keys::directory(entry.id()));
    txn.meta().set_directories(txn.meta().directories() - 1);
    removal.reply.set_directories(1);
  } else {
    bury_directory(txn, entry.id(), request.id());
    removal.purge = entry.id();
  }
  return removal;
}

}  // namespace pangu::master
