#include "master/state/removed_files.h"

#include <gtest/gtest.h>

#include "base/prng.h"
#include "master/state/stream_harness.h"

namespace pangu::master {
namespace {

using test::StreamHarness;

// The ranges that a set of ids makes.
std::vector<FileRange> ranges_of(const std::set<u64>& ids) {
  std::vector<FileRange> out;
  for (const u64 id : ids) {
    if (!out.empty() && out.back().end.number == id) {
      ++out.back().end.number;
    } else {
      out.push_back({.from = {id}, .end = {id + 1}});
    }
  }
  return out;
}

TEST(RemovedFiles, AreWhatASetOfIdsIs) {
  for (const u64 seed : {1u, 2u, 3u, 4u, 5u, 6u}) {
    SCOPED_TRACE(seed);
    Prng prng(seed);
    StreamHarness h;
    std::set<u64> ids;
    // Few ids, so that ranges meet from both sides, and all of them in the end.
    const u64 count = 2 + prng.below(60);
    for (int step = 0; step < 300; ++step) {
      const u64 id = prng.below(count);
      ids.insert(id);
      const bool ok = h.change([&](Txn& txn) {
                         add_removed(txn, {id});
                         return ok_status();
                       }).ok();
      ASSERT_TRUE(ok);
      const u64 probe = prng.below(count + 2);
      ASSERT_EQ(h.query([&](Txn& txn) { return is_removed(txn, {probe}); }), ids.contains(probe));
      const auto expected = ranges_of(ids);
      const auto all = h.query([&](Txn& txn) { return removed_from(txn, {0}, 1000); });
      ASSERT_EQ(all.ranges, expected);
      // From anywhere, in pages.
      std::vector<FileRange> paged;
      for (FileId from{probe};;) {
        const auto page = h.query([&](Txn& txn) { return removed_from(txn, from, 2); });
        paged.insert(paged.end(), page.ranges.begin(), page.ranges.end());
        if (!page.more) {
          break;
        }
        from = page.ranges.back().end;
      }
      std::vector<FileRange> behind;
      for (const FileRange& range : expected) {
        if (range.end.number > probe) {
          behind.push_back(range);
        }
      }
      ASSERT_EQ(paged, behind);
    }
  }
}

}  // namespace
}  // namespace pangu::master
