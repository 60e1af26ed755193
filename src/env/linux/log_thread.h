#pragma once
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/log.h"
#include "base/result.h"
#include "env/linux/fd.h"

namespace pangu::env {

// Writes the lines of base/log.h to a file or to stderr, off the threads that log:
//   2026-11-22T11:15:57.123Z warn the text
// One a process. While it lives no logging thread ever waits for a disk or a terminal.
class LogThread {
 public:
  // `path` empty: stderr. The file is appended to.
  static Result<std::unique_ptr<LogThread>> start(const std::string& path = {});
  LogThread(const LogThread&) = delete;
  LogThread& operator=(const LogThread&) = delete;
  // Writes what is left. Happens at exit() at the latest.
  ~LogThread();
  // Writes all lines logged before the call.
  void flush();

 private:
  explicit LogThread(Fd file);
  void work();
  bool drain();
  static void take(void* self, LogLevel level, std::string_view text);

  Fd file_;  // invalid: stderr
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::string pending_;
  u64 dropped_told_ = 0;
  std::thread thread_;
};

// "2026-11-22T11:15:57.123Z"
std::string format_wall_clock(i64 microseconds_since_1970);

}  // namespace pangu::env
