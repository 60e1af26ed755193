#include "master/state/namespace.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/reached.h"
#include "master/state/file_options.h"
#include "master/state/limits.h"
#include "master/state/locks.h"
#include "master/state/partition_map.h"
#include "wire/partition.h"
#include "wire/path.h"

namespace pangu::master {
namespace {

bool is_directory(const record::Entry& entry) { return entry.type() == pb::ENTRY_DIRECTORY; }

Error busy(u64 directory) {
  return Error(Code::kBusy, fmt::format("a change of directory {:#018x} is under way", directory));
}

Error gone(u64 directory) {
  return Error(Code::kStale, fmt::format("directory {:#018x} is not here: it was moved or removed",
                                         directory));
}

std::span<const u64> chain_of(const pb::Place& place) {
  return {place.chain().data(), static_cast<size_t>(place.chain_size())};
}

Status check_chain(std::span<const u64> chain) {
  if (chain.empty() || chain.front() != wire::kRootDirectory) {
    return Error(Code::kInvalidArgument, "a chain begins with the root directory");
  }
  if (chain.size() > wire::kPathDepthMax + 1) {
    return Error(Code::kInvalidArgument,
                 fmt::format("a chain of {} directories; at most {} are possible", chain.size(),
                             wire::kPathDepthMax + 1));
  }
  return ok_status();
}

Status check_place(const pb::Place& place) {
  TRY_VOID(check_chain(chain_of(place)));
  if (place.chain(place.chain_size() - 1) != place.directory()) {
    return Error(Code::kInvalidArgument,
                 fmt::format("the chain of a place ends at its directory, {:#018x}",
                             place.directory()));
  }
  return place.name().empty() ? ok_status() : wire::check_name(place.name());
}

// The last tree epoch that moved the directory; 0: none known.
u64 moved_at(Txn& txn, u64 directory) {
  const auto row = txn.get(keys::moved(directory));
  return row ? keys::decode_u64(*row) : 0;
}

u64 chain_moved_at(Txn& txn, std::span<const u64> chain) {
  u64 last = 0;
  for (const u64 directory : chain) {
    last = std::max(last, moved_at(txn, directory));
  }
  return last;
}

// Everything of check_way but whether the last directory is there.
Status check_chain_unmoved(Txn& txn, std::span<const u64> chain, u64 seen) {
  TRY_VOID(check_chain(chain));
  if (seen < txn.meta().tree_floor()) {
    REACHED("master: a way older than the moves that are remembered");
    return Error(Code::kStale, fmt::format("a way seen at tree epoch {} is too old to be checked",
                                           seen));
  }
  if (const u64 moved = chain_moved_at(txn, chain); moved > seen) {
    return Error(Code::kStale,
                 fmt::format("a directory of the way was moved at tree epoch {}, which was seen at "
                             "{}",
                             moved, seen));
  }
  if (way_locked(txn, chain)) {
    return Error(Code::kBusy, "a directory of the way is being moved or removed");
  }
  return ok_status();
}

Result<pb::LookupAnswer> look_up(Txn& txn, const pb::Place& place, bool guess) {
  TRY_VOID(check_place(place));
  const u64 directory = place.directory();
  if (!guess) {
    TRY_VOID(check_chain_unmoved(txn, chain_of(place), place.seen()));
  } else if (way_locked(txn, chain_of(place))) {
    return busy(directory);
  }
  if (directory_locked(txn, directory) || entry_locked(txn, directory, place.name())) {
    return busy(directory);
  }
  pb::LookupAnswer answer;
  answer.set_moved(chain_moved_at(txn, chain_of(place)));
  const auto found = find_directory(txn, directory);
  if (!found) {
    answer.set_result(pb::LOOKUP_NO_DIRECTORY);
    return answer;
  }
  if (place.name().empty()) {
    record::Entry self;
    self.set_type(pb::ENTRY_DIRECTORY);
    self.set_id(directory);
    answer.set_result(pb::LOOKUP_FOUND);
    describe_entry(*answer.mutable_entry(), found->name(), self);
    return answer;
  }
  const auto entry = find_entry(txn, directory, place.name());
  answer.set_result(entry ? pb::LOOKUP_FOUND : pb::LOOKUP_NO_ENTRY);
  if (entry) {
    describe_entry(*answer.mutable_entry(), place.name(), *entry);
  }
  return answer;
}

// A directory of this group whose entries are read or changed now.
Status check_directory(Txn& txn, const pb::Place& place) {
  TRY_VOID(check_place(place));
  TRY_VOID(check_chain_unmoved(txn, chain_of(place), place.seen()));
  if (directory_locked(txn, place.directory())) {
    return busy(place.directory());
  }
  return directory_exists(txn, place.directory()) ? ok_status() : gone(place.directory());
}

Result<record::Entry> add_file(Txn& txn, const ApplyContext& context, const pb::Place& place,
                               const pb::FileOptions& options) {
  record::Meta& meta = txn.meta();
  const u64 counter = meta.next_file() / meta.stream_groups();
  if (counter >> wire::kFileCounterBits != 0) {
    return Error(Code::kTooLarge, "this namespace group has used up its file ids");
  }
  const auto stream = static_cast<u32>(meta.next_file() % meta.stream_groups());
  record::Entry entry;
  entry.set_type(pb::ENTRY_FILE);
  entry.set_id(wire::file_id(stream, meta.index(), counter).number);
  entry.set_created_us(context.wall_clock_us);
  entry.set_copies_max(options.copies_max());
  entry.set_copies_min(options.copies_min());
  entry.set_chunk_bytes(options.chunk_bytes());
  txn.put(keys::entry(place.directory(), place.name()), entry);
  meta.set_next_file(meta.next_file() + 1);
  meta.set_files(meta.files() + 1);
  return entry;
}

// A lock that the page must not look past: of a name after `after`, and up to `last` if more follow.
bool page_locked(Txn& txn, const pb::ListRequest& request, const pb::ListReply& reply) {
  const std::string prefix = keys::entry_locks_of(request.place().directory());
  const std::string from = request.after().empty() ? prefix : prefix + request.after() + '\0';
  const std::string to = reply.more() && !reply.entries().empty()
                             ? prefix + reply.entries(reply.entries_size() - 1).name() + '\0'
                             : prefix_end(prefix);
  return !txn.scan(from, to, 1).entries.empty();
}

}  // namespace

void describe_entry(pb::Entry& out, std::string_view name, const record::Entry& entry) {
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

std::optional<record::Entry> find_entry(Txn& txn, u64 directory, std::string_view name) {
  std::optional<record::Entry> entry(std::in_place);
  if (!txn.get(keys::entry(directory, name), *entry)) {
    entry.reset();
  }
  return entry;
}

std::optional<record::Directory> find_directory(Txn& txn, u64 id) {
  std::optional<record::Directory> directory(std::in_place);
  if (!txn.get(keys::directory(id), *directory)) {
    directory.reset();
  }
  return directory;
}

bool directory_exists(Txn& txn, u64 id) { return txn.has(keys::directory(id)); }

bool directory_id_taken(Txn& txn, u64 id) {
  return id <= wire::kRootDirectory || directory_exists(txn, id) || directory_locked(txn, id) ||
         txn.has(keys::dead_directory(id));
}

Status check_way(Txn& txn, std::span<const u64> chain, u64 seen) {
  TRY_VOID(check_chain_unmoved(txn, chain, seen));
  const u64 last = chain.back();
  if (group_of_directory(txn, last) != own_group(txn.meta())) {
    return ok_status();
  }
  if (directory_locked(txn, last)) {
    return busy(last);
  }
  return directory_exists(txn, last) ? ok_status() : gone(last);
}

Result<pb::LookupReply> lookup(Txn& txn, const pb::LookupRequest& request) {
  if (request.places_size() > kLookupPlacesMax) {
    return Error(Code::kInvalidArgument,
                 fmt::format("{} places in one request; at most {} are possible",
                             request.places_size(), kLookupPlacesMax));
  }
  pb::LookupReply reply;
  for (const pb::Place& place : request.places()) {
    TRY(answer, look_up(txn, place, request.guess()));
    *reply.add_answers() = std::move(answer);
  }
  reply.set_tree_epoch(txn.meta().tree_epoch());
  return reply;
}

Result<pb::ListReply> list(Txn& txn, const pb::ListRequest& request) {
  TRY_VOID(check_directory(txn, request.place()));
  const u64 directory = request.place().directory();
  const u32 wanted = request.limit() == 0 ? kListDefault : std::min(request.limit(), kListMax);
  const std::string prefix = keys::entries_of(directory);
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
      return Error(Code::kCorrupt,
                   fmt::format("the record of an entry of directory {:#018x} does not parse",
                               directory));
    }
    describe_entry(*reply.add_entries(), std::string_view(found.key).substr(prefix.size()), entry);
    bytes += found.key.size() + found.value.size() + 16;
  }
  reply.set_more(page.more);
  if (page_locked(txn, request, reply)) {
    return busy(directory);
  }
  return reply;
}

Result<pb::CreateFileReply> create_file(Txn& txn, const ApplyContext& context,
                                        const pb::CreateFileRequest& request) {
  const pb::Place& place = request.place();
  if (place.name().empty()) {
    return Error(Code::kInvalidArgument, "a file needs a name");
  }
  TRY(options, checked_options(request.options()));
  TRY_VOID(check_directory(txn, place));
  if (entry_locked(txn, place.directory(), place.name())) {
    return busy(place.directory());
  }
  pb::CreateFileReply reply;
  std::optional<record::Entry> entry = find_entry(txn, place.directory(), place.name());
  if (!entry) {
    TRY(added, add_file(txn, context, place, options));
    entry = std::move(added);
    reply.set_created(true);
  } else if (is_directory(*entry)) {
    return Error(Code::kIsDirectory, fmt::format("'{}' is a directory", place.name()));
  } else if (request.exclusive()) {
    return Error(Code::kAlreadyExists, fmt::format("'{}' exists", place.name()));
  }
  describe_entry(*reply.mutable_entry(), place.name(), *entry);
  return reply;
}

}  // namespace pangu::master
