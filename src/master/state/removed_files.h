#pragma once
#include <vector>

#include "base/ids.h"
#include "master/state/txn.h"

// Table Z: the files of this group that are removed, as ranges of ids that neither touch nor
// overlap. What is removed stays so for ever: a writer that comes late finds no stream, and makes
// none. Ids are given out in order, so there are about as many ranges as files that live.
namespace pangu::master {

struct FileRange {
  FileId from;
  FileId end;  // not included
  bool operator==(const FileRange&) const = default;
};

bool is_removed(Txn& txn, FileId file);
// Idempotent. REQUIRES: the id is not the greatest there is
void add_removed(Txn& txn, FileId file);

// The first `limit` ranges that end after `from`, in order.
struct RemovedPage {
  std::vector<FileRange> ranges;
  bool more = false;
};
RemovedPage removed_from(Txn& txn, FileId from, size_t limit);

// Whether `file` is one of this group's (wire/partition.h).
bool is_of_group(Txn& txn, FileId file);

}  // namespace pangu::master
