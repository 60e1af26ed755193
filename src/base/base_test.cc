#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/histogram.h"
#include "base/intrusive_list.h"
#include "base/key_values.h"
#include "base/prng.h"
#include "base/reached.h"
#include "base/units.h"

namespace pangu {
namespace {

TEST(Crc32c, Rfc3720Vectors) {
  std::array<std::byte, 32> bytes{};
  EXPECT_EQ(crc32c(bytes), 0x8a9136aau);
  bytes.fill(std::byte{0xff});
  EXPECT_EQ(crc32c(bytes), 0x62a8ab43u);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(i);
  }
  EXPECT_EQ(crc32c(bytes), 0x46dd794eu);
  EXPECT_EQ(crc32c(as_bytes_of("123456789")), 0xe3069283u);
}

TEST(Crc32c, ExtendIsTheCrcOfTheWhole) {
  const std::string_view text = "the quick brown fox";
  EXPECT_EQ(crc32c_extend(crc32c(as_bytes_of(text.substr(0, 7))), as_bytes_of(text.substr(7))),
            crc32c(as_bytes_of(text)));
}

// The value is agreed between nodes: a change here is a change of every placement.
TEST(Hash, GoldenValues) {
  EXPECT_EQ(hash64(u64{0}), 0xe220a8397b1dcdafULL);
  EXPECT_EQ(hash64(u64{1}), 0x910a2dec89025cc1ULL);
  EXPECT_NE(hash64("a", 0), hash64("a", 1));
  EXPECT_NE(hash64(std::string_view("\0", 1)), hash64(""));
}

TEST(Ids, ChunkIdTextRoundTrip) {
  const ChunkId id{.file = {0xa7}, .sequence = 3, .shard = 2};
  EXPECT_EQ(to_string(id), "0x00000000000000a7.00000003.0002");
  EXPECT_EQ(*parse_chunk_id(to_string(id)), id);
  for (const char* bad : {"", "0x1", "0x1.2", "0x1.2.", "0xg.1.1", "1.2.3.4", "0x1.100000000.0"}) {
    EXPECT_EQ(parse_chunk_id(bad).code(), Code::kInvalidArgument) << bad;
  }
}

TEST(Units, SizesAndDurations) {
  EXPECT_EQ(*parse_size("4k"), 4096u);
  EXPECT_EQ(*parse_size("64M"), 64 * kMiB);
  EXPECT_EQ(*parse_size("1TiB"), kTiB);
  EXPECT_EQ(*parse_size("17"), 17u);
  EXPECT_EQ(*parse_size("3kb"), 3 * kKiB);
  for (const char* bad : {"", "k", "-1", "4x", "1.5G", "99999999999T", "4kk"}) {
    EXPECT_FALSE(parse_size(bad).ok()) << bad;
  }
  EXPECT_EQ(*parse_duration("10ms"), milliseconds(10));
  EXPECT_FALSE(parse_duration("10").ok());
  EXPECT_EQ(format_size(64 * kMiB), "64.0 MiB");
  EXPECT_EQ(format_duration(microseconds(187)), "187 us");
}

TEST(Histogram, PercentilesAreWithinABucket) {
  Histogram h;
  for (u64 i = 1; i <= 100'000; ++i) {
    h.add(i);
  }
  EXPECT_EQ(h.count(), 100'000u);
  EXPECT_EQ(h.max(), 100'000u);
  for (const double p : {0.01, 0.5, 0.99, 0.999}) {
    const double truth = p * 100'000;
    EXPECT_NEAR(static_cast<double>(h.percentile(p)), truth, truth * 0.033 + 1) << p;
  }
  EXPECT_EQ(Histogram().percentile(0.5), 0u);
}

TEST(Result, CarriesValueOrError) {
  const auto half = [](int n) -> Result<int> {
    if (n % 2 != 0) {
      return Error(Code::kInvalidArgument, "odd");
    }
    return n / 2;
  };
  const auto quarter = [&](int n) -> Result<int> {
    TRY(h, half(n));
    return half(h);
  };
  EXPECT_EQ(*quarter(12), 3);
  EXPECT_EQ(quarter(6).error().message(), "invalid argument: odd");
  EXPECT_EQ(std::move(quarter(6)).error().within("at 6").message(), "invalid argument: at 6: odd");
  EXPECT_EQ(code_name(Code::kNoSpace), "NO_SPACE");
  EXPECT_EQ(code_from_number(201), Code::kConflict);
  EXPECT_EQ(code_from_number(60000), Code::kInternal);
  EXPECT_EQ(retry_class(Code::kConnectionLost), Retry::unknown_outcome);
}

TEST(KeyValues, RoundTripAndErrorsNameTheLine) {
  const KeyValues values = {{"cluster", "00ff"}, {"server", "7"}};
  EXPECT_EQ(*parse_key_values("f", format_key_values("a comment", values)), values);
  EXPECT_EQ(*required_value("f", values, "server"), "7");
  EXPECT_NE(required_value("f", values, "rack").error().message().find("rack"), std::string::npos);
  for (const char* bad : {"x", "x = 1", "= \"a\"", "a = \"b", "a = \"b\"\na = \"c\"", "\x01\xff"}) {
    EXPECT_EQ(parse_key_values("f", bad).code(), Code::kInvalidArgument) << bad;
  }
  EXPECT_NE(parse_key_values("f", "\n\nx").error().message().find("line 3"), std::string::npos);
}

struct Item : ListNode {
  int value = 0;
};

TEST(IntrusiveList, UnlinksOnDestruction) {
  IntrusiveList<Item> list;
  Item a;
  a.value = 1;
  list.push_back(a);
  {
    Item b;
    list.push_back(b);
    EXPECT_EQ(list.next(a), &b);
  }
  EXPECT_EQ(list.next(a), nullptr);
  EXPECT_EQ(list.pop_front(), &a);
  EXPECT_TRUE(list.empty());
}

void touch_marks(bool second) {
  REACHED("base_test: always");
  if (second) {
    REACHED("base_test: sometimes");
  }
}

TEST(Reached, ListsMarksThatWereNeverHit) {
  touch_marks(false);
  std::map<std::string, u64> seen;
  for_each_reached_mark(
      [](void* context, const ReachedMark& mark) {
        (*static_cast<std::map<std::string, u64>*>(context))[mark.name] = *mark.count;
      },
      &seen);
  EXPECT_EQ(seen.at("base_test: always"), 1u);
  EXPECT_EQ(seen.at("base_test: sometimes"), 0u);
  touch_marks(true);
}

}  // namespace
}  // namespace pangu
