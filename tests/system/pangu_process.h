#pragma once
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/types.h"

// Runs the real `pangu` binary the way a person does: words, standard input, output, exit code.
namespace pangu::system_test {

struct Finished {
  int exit_code = -1;  // 128 + signal if one ended it
  std::string out;
  std::string err;
};

struct Launch {
  std::vector<std::string> words;              // after the program's name
  std::map<std::string, std::string> environment;  // added to the test's own
  std::string program;                         // empty: the binary under test
  std::string user;                            // run as this user; the test must be root
};

// A running process with pipes to it. Killed by the destructor if it still runs.
class Process {
 public:
  explicit Process(const Launch& launch);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  int pid() const { return pid_; }
  // False if it does not take the bytes within the limit, or is gone.
  bool write(const std::string& bytes);
  void close_input();
  void kill(int signal);
  // Reads its output until `text` appears there; false at the end of it or after `seconds`.
  bool wait_for_output(const std::string& text, int seconds = 30);
  // What came on standard output so far.
  const std::string& output() const { return out_; }
  // Reads both outputs to their ends and reaps it. A process that runs longer is killed: exit 137.
  Finished finish(int seconds = 60);

 private:
  bool pump(int until_ms);
  int pid_ = -1;
  int in_ = -1;
  int out_fd_ = -1;
  int err_fd_ = -1;
  std::string out_;
  std::string err_;
};

Finished run(const Launch& launch, const std::string& input = "", int seconds = 60);
// Runs it again and again until it ends with 0 or the time is over; the last outcome. For what
// becomes possible by itself.
Finished run_until_ok(const Launch& launch, const std::string& input, int seconds);
std::string binary_under_test();

// A directory of its own, removed at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();
  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

void write_file(const std::string& path, const std::string& bytes);
std::string read_file(const std::string& path);
// Bytes that differ at every place and from seed to seed.
std::string noise(u64 seed, size_t size);

// Equal, or how they differ: binary data would fill the screen.
testing::AssertionResult same(const std::string& got, const std::string& wanted);
// HOST:PORT in "export PANGU_CLUSTER=HOST:PORT" of an output, or "".
std::string masters_in(const std::string& output);

}  // namespace pangu::system_test
