#include "wire/path.h"

#include <gtest/gtest.h>

namespace pangu::wire {
namespace {

TEST(Path, GoodPathsAreTakenApart) {
  EXPECT_TRUE(parse_path("/").value().empty());
  EXPECT_EQ(parse_path("/a").value(), (std::vector<std::string_view>{"a"}));
  EXPECT_EQ(parse_path("/a/b c/.hidden/...").value(),
            (std::vector<std::string_view>{"a", "b c", ".hidden", "..."}));
  EXPECT_EQ(parse_path("/\xe7\x9b\x98\xe5\x8f\xa4").value().size(), 1u);
  EXPECT_TRUE(parse_path("/" + std::string(255, 'n')).ok());
}

TEST(Path, EachRuleIsNamedWhenItIsBroken) {
  std::string deep;
  for (int i = 0; i < 65; ++i) {
    deep += "/d";
  }
  std::string longest;
  while (longest.size() <= 4096) {
    longest += "/" + std::string(200, 'x');
  }
  const struct {
    std::string path;
    const char* rule;
  } cases[] = {
      {"", "absolute"},
      {"a/b", "absolute"},
      {"./a", "absolute"},
      {"//", "empty part"},
      {"/a//b", "empty part"},
      {"/a/", "end with '/'"},
      {"/a/./b", "'.' or '..'"},
      {"/.", "'.' or '..'"},
      {"/a/..", "'.' or '..'"},
      {"/../a", "'.' or '..'"},
      {std::string("/a\0b", 4), "NUL"},
      {"/a\xff", "UTF-8"},
      {"/\xc0\xaf", "UTF-8"},          // overlong '/'
      {"/\xe0\x80\xaf", "UTF-8"},      // overlong
      {"/\xed\xa0\x80", "UTF-8"},      // surrogate
      {"/\xf4\x90\x80\x80", "UTF-8"},  // above U+10FFFF
      {"/\xe2\x82", "UTF-8"},          // cut short
      {"/\x80", "UTF-8"},              // continuation alone
      {"/" + std::string(256, 'n'), "256 bytes"},
      {longest, "at most 4096"},
      {deep, "64 parts"},
  };
  for (const auto& each : cases) {
    const auto parsed = parse_path(each.path);
    ASSERT_EQ(parsed.code(), Code::kInvalidArgument) << each.path;
    EXPECT_NE(parsed.error().message().find(each.rule), std::string::npos)
        << parsed.error().message();
    EXPECT_TRUE(is_utf8(parsed.error().message()));
  }
}

TEST(Path, ANameIsOnePartOfAPath) {
  for (const std::string& good : {std::string("a"), std::string("..."), std::string("a b"),
                                  std::string(255, 'n'), std::string("\xe7\x9b\x98")}) {
    EXPECT_TRUE(check_name(good).ok()) << good;
  }
  for (const std::string& bad :
       {std::string(), std::string("a/b"), std::string("/"), std::string("."), std::string(".."),
        std::string("a\0b", 3), std::string("a\xff"), std::string(256, 'n')}) {
    EXPECT_EQ(check_name(bad).code(), Code::kInvalidArgument) << bad;
  }
}

}  // namespace
}  // namespace pangu::wire
