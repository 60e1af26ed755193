#include "raft/driver/entry_cache.h"

#include <gtest/gtest.h>

#include "base/prng.h"

namespace pangu::raft {
namespace {

Entry make(Term term, Index index, size_t bytes) {
  return {.term = term, .index = index, .payload = Payload::copy_of(std::string(bytes, 'x'))};
}

TEST(EntryCache, TheOldestOfAllGroupsGoesFirst) {
  EntryCache cache(5 * 132);
  for (Index index = 1; index <= 3; ++index) {
    cache.add({1}, make({1}, index, 100));
    cache.add({2}, make({1}, index, 100));
  }
  EXPECT_EQ(cache.first({1}), 2u);
  EXPECT_EQ(cache.first({2}), 1u);
  EXPECT_EQ(cache.bytes(), 5 * 132u);
  Entries out;
  EXPECT_EQ(cache.read({1}, {1, 3}, kGiB, out), LogView::Found::not_in_memory);
  EXPECT_EQ(cache.read({1}, {2, 9}, kGiB, out), LogView::Found::here);
  EXPECT_EQ(out.size(), 2u);
  EXPECT_EQ(cache.read({3}, {1, 1}, kGiB, out), LogView::Found::not_in_memory);
}

TEST(EntryCache, ReadsAtLeastOneAndAtMostWhatFits) {
  EntryCache cache(kMiB);
  for (Index index = 1; index <= 4; ++index) {
    cache.add({1}, make({1}, index, 100));
  }
  const auto count = [&](u64 bytes_max) {
    Entries out(2);
    EXPECT_EQ(cache.read({1}, {1, 4}, bytes_max, out), LogView::Found::here);
    return out.size() - 2;
  };
  EXPECT_EQ(count(0), 1u);
  EXPECT_EQ(count(2 * 132 - 1), 1u);
  EXPECT_EQ(count(2 * 132), 2u);
  EXPECT_EQ(count(kGiB), 4u);
}

TEST(EntryCache, WhatIsLargerThanAllOfItIsNotKept) {
  EntryCache cache(100);
  cache.add({1}, make({1}, 1, 10));
  cache.add({1}, make({1}, 2, 1000));
  EXPECT_EQ(cache.bytes(), 0u);
  EXPECT_EQ(cache.first({1}), 0u);
}

// Against a plain map of what every group should hold.
TEST(EntryCache, HoldsAConsecutiveTailAndKeepsItsBound) {
  Prng random(1);
  EntryCache cache(3000);
  std::map<GroupId, std::map<Index, Term>> logs;
  for (int step = 0; step < 20'000; ++step) {
    const GroupId group{random.below(5)};
    std::map<Index, Term>& log = logs[group];
    const Index last = log.empty() ? 0 : log.rbegin()->first;
    const u64 what = random.below(100);
    if (what < 80) {
      const Index index = random.chance(0.9) ? last + 1 : random.between(1, last + 1);
      log.erase(log.lower_bound(index), log.end());
      log[index] = {static_cast<u64>(step)};
      cache.add(group, make(log[index], index, random.below(300)));
    } else if (what < 90) {
      const Index index = random.below(last + 1);
      cache.compact(group, index);
      EXPECT_TRUE(cache.first(group) == 0 || cache.first(group) > index);
    } else if (what < 93) {
      log.clear();
      cache.forget(group);
    } else if (what < 95 && last > 0) {
      // A gap: an installed snapshot.
      log.clear();
      log[last + 10] = {static_cast<u64>(step)};
      cache.add(group, make(log[last + 10], last + 10, 10));
    }
    ASSERT_LE(cache.bytes(), 3000u);
    const Index first = cache.first(group);
    if (first != 0) {
      Entries out;
      ASSERT_EQ(cache.read(group, {first, ~u64{0}}, kGiB, out), LogView::Found::here);
      ASSERT_EQ(out.back().index, log.rbegin()->first);
      for (const Entry& entry : out) {
        ASSERT_EQ(entry.term, log.at(entry.index));
      }
    }
  }
}

}  // namespace
}  // namespace pangu::raft
