#include "app/output.h"

#include <nlohmann/json.hpp>

#include "app/bench_report.h"
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

TEST(BenchReport, JsonKeysAreAnInterface) {
  BenchReport report;
  report.latency_ns.add(100'000);
  report.latency_ns.add(200'000);
  report.payload_bytes = 2 * kMiB;
  report.elapsed = seconds(2);
  report.client_cpu = milliseconds(1);
  report.device_bytes = 3 * kMiB;
  report.wait_mode = "event";
  const auto json = nlohmann::ordered_json::parse(bench_json(report));
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) {
    keys.push_back(key);
  }
  EXPECT_EQ(keys, (std::vector<std::string>{"ops", "iops", "mib_per_s", "p50_us", "p99_us",
                                            "p999_us", "max_us", "errors", "client_cpu_us_per_op",
                                            "device_bytes_per_payload_byte", "wait_mode"}));
  EXPECT_EQ(json["ops"], 2);
  EXPECT_EQ(json["iops"], 1.0);
  EXPECT_EQ(json["mib_per_s"], 1.0);
  EXPECT_EQ(json["client_cpu_us_per_op"], 500.0);
  EXPECT_EQ(json["device_bytes_per_payload_byte"], 1.5);
  EXPECT_EQ(json["max_us"], 200.0);
  // Nothing done: zeroes, no division by zero.
  const auto empty = nlohmann::json::parse(bench_json(BenchReport{}));
  EXPECT_EQ(empty["iops"], 0.0);
}

}  // namespace
}  // namespace pangu::app
