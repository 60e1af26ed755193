#include "master/state/removed_files.h"

#include "base/reached.h"
#include "master/state/record.pb.h"
#include "wire/partition.h"

namespace pangu::master {
namespace {

std::string encode(FileId file) {
  // A table's key is its letter and the number as values have it.
  return keys::removed(file).substr(1);
}
FileRange decode(const KvEntry& row) {
  return {.from = {keys::decode_u64(row.value)},
          .end = {keys::decode_u64(std::string_view(row.key).substr(1))}};
}

}  // namespace

// Rows stand under their ends: the first one behind an id is the only one that can hold it.
RemovedPage removed_from(Txn& txn, FileId from, size_t limit) {
  RemovedPage out;
  if (from.number == ~u64{0}) {
    return out;
  }
  const KvPage page = txn.scan(keys::removed({from.number + 1}),
                               prefix_end(keys::all_removed()), limit);
  for (const KvEntry& row : page.entries) {
    out.ranges.push_back(decode(row));
  }
  out.more = page.more;
  return out;
}

bool is_removed(Txn& txn, FileId file) {
  const RemovedPage page = removed_from(txn, file, 1);
  return !page.ranges.empty() && page.ranges.front().from <= file;
}

void add_removed(Txn& txn, FileId file) {
  const RemovedPage page = removed_from(txn, file, 1);
  FileRange added{.from = file, .end = {file.number + 1}};
  if (!page.ranges.empty()) {
    const FileRange& next = page.ranges.front();
    if (next.from <= file) {
      return;
    }
    if (next.from == added.end) {
      added.end = next.end;
    }
  }
  if (const auto before = txn.get(keys::removed(file))) {
    REACHED("master: removed files became one range");
    added.from = {keys::decode_u64(*before)};
    txn.erase(keys::removed(file));
  }
  txn.put(keys::removed(added.end), encode(added.from));
}

bool is_of_group(Txn& txn, FileId file) {
  return wire::stream_index_of(file) == txn.meta().index();
}

}  // namespace pangu::master
