#pragma once
#include <gtest/gtest.h>

#include "pangu_process.h"

// A cluster of real processes in a directory of its own, stopped at the end.
namespace pangu::system_test {

class TestCluster {
 public:
  explicit TestCluster(std::vector<std::string> flags = {},
                       const std::string& device_size = "256M") {
    std::vector<std::string> words = {"cluster",       "start", "--dir",         directory(),
                                      "--master-port", "0",     "--device-size", device_size};
    words.insert(words.end(), flags.begin(), flags.end());
    const Finished started = run({.words = words});
    EXPECT_EQ(started.exit_code, 0) << started.err;
    masters_ = masters_in(started.out);
    EXPECT_FALSE(masters_.empty()) << started.out;
  }
  ~TestCluster() {
    const Finished stopped = manage("stop");
    EXPECT_EQ(stopped.exit_code, 0) << stopped.err;
  }

  std::string directory() const { return place_.file("cluster"); }
  const TemporaryDirectory& place() const { return place_; }
  const std::string& masters() const { return masters_; }
  Launch launch(std::vector<std::string> words) const {
    return {.words = std::move(words), .environment = {{"PANGU_CLUSTER", masters_}}};
  }
  // A client command against this cluster.
  Finished pangu(std::vector<std::string> words, const std::string& input = "") const {
    return run(launch(std::move(words)), input);
  }
  // pangu cluster VERB [NAME] --dir ...
  Finished manage(const std::string& verb, const std::string& name = "") const {
    std::vector<std::string> words = {"cluster", verb, "--dir", directory()};
    if (!name.empty()) {
      words.push_back(name);
    }
    return run({.words = words});
  }

 private:
  TemporaryDirectory place_;
  std::string masters_;
};

// The same with a message that shows what the command said.
inline void expect_ok(const Finished& done) { EXPECT_EQ(done.exit_code, 0) << done.err; }

}  // namespace pangu::system_test
