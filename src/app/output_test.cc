#include "app/output.h"

#include <nlohmann/json.hpp>

#include "app/progress.h"

namespace pangu::app {
namespace {

TEST(Table, ColumnsLineUp) {
  Table table({"NAME", ">SIZE"});
  table.add({"a", "4.0 KiB"});
  table.add({"größer", "1 B"});
  EXPECT_EQ(table.text(),
            "NAME       SIZE\n"
            "a       4.0 KiB\n"
            "größer      1 B\n");
}

TEST(JsonWriter, WritesWhatAParserReads) {
  JsonWriter json;
  json.begin_object().field("name", "a \"b\"\\\n\x01").field("n", u64{7}).field("f", 0.5);
  json.key("list").begin_array().value(true).value(i64{-3}).begin_object().end_object().end_array();
  json.key("none").begin_array().end_array();
  json.end_object();
  const auto read = nlohmann::json::parse(json.text());
  EXPECT_EQ(read["name"], "a \"b\"\\\n\x01");
  EXPECT_EQ(read["n"], 7);
  EXPECT_EQ(read["f"], 0.5);
  EXPECT_EQ(read["list"].size(), 3u);
  EXPECT_EQ(read["list"][1], -3);
  EXPECT_TRUE(read["none"].empty());
}

TEST(Progress, LineSaysHowFarAndHowLong) {
  const std::string half = progress_line("big", 50 * kMiB, 100 * kMiB, seconds(1));
  EXPECT_NE(half.find("50 %"), std::string::npos) << half;
  EXPECT_NE(half.find("50.0 MiB/s"), std::string::npos) << half;
  EXPECT_NE(half.find("ETA 1 s"), std::string::npos) << half;
  EXPECT_EQ(progress_line("big", 100, 100, seconds(1)).find("ETA"), std::string::npos);
  EXPECT_EQ(progress_line("pipe", 100, std::nullopt, seconds(1)).find('%'), std::string::npos);
  EXPECT_NE(progress_line("empty", 0, 0, Duration{}).find("100 %"), std::string::npos);
}

}  // namespace
}  // namespace pangu::app
