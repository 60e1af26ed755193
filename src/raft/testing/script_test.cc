#include "raft/testing/script.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

namespace pangu::raft::testing {
namespace {

std::vector<std::filesystem::path> scripts() {
  std::vector<std::filesystem::path> out;
  for (const auto& file : std::filesystem::directory_iterator(PANGU_RAFT_SCRIPTS)) {
    out.push_back(file.path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

class Scripts : public ::testing::TestWithParam<std::filesystem::path> {};

// PANGU_RAFT_TRACE=1 shows every message of a script that passes, too.
TEST_P(Scripts, Hold) {
  std::ifstream file(GetParam());
  std::stringstream text;
  text << file.rdbuf();
  ASSERT_FALSE(text.str().empty());
  Script script;
  const std::string wrong = script.run(GetParam().filename().string(), text.str());
  EXPECT_TRUE(wrong.empty()) << wrong;
  if (wrong.empty() && std::getenv("PANGU_RAFT_TRACE") != nullptr) {
    std::printf("%s", script.trace().c_str());
  }
}

INSTANTIATE_TEST_SUITE_P(Raft, Scripts, ::testing::ValuesIn(scripts()),
                         [](const ::testing::TestParamInfo<std::filesystem::path>& param) {
                           std::string name = param.param.stem().string();
                           std::replace_if(
                               name.begin(), name.end(),
                               [](char c) { return std::isalnum(c) == 0; }, '_');
                           return name;
                         });

}  // namespace
}  // namespace pangu::raft::testing
