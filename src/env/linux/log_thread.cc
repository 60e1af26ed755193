#include "env/linux/log_thread.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <time.h>

#include "env/env.h"

namespace pangu::env {

namespace {

// Between two looks at the rings. A producer never wakes the drainer, so it looks often while lines
// come and seldom while the process is idle.
constexpr std::chrono::milliseconds kIntervalMin{20};
constexpr std::chrono::milliseconds kIntervalMax{320};
std::atomic<LogThread*> g_running{nullptr};

i64 wall_clock_us() {
  timespec time{};
  clock_gettime(CLOCK_REALTIME, &time);
  return i64{time.tv_sec} * 1'000'000 + time.tv_nsec / 1000;
}

void flush_at_exit() {
  if (LogThread* running = g_running.load()) {
    running->flush();
  }
}

}  // namespace

std::string format_wall_clock(i64 microseconds_since_1970) {
  const time_t seconds = microseconds_since_1970 / 1'000'000;
  tm parts{};
  gmtime_r(&seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", parts.tm_year + 1900,
                     parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                     microseconds_since_1970 / 1000 % 1000);
}

Result<std::unique_ptr<LogThread>> LogThread::start(const std::string& path) {
  Fd file;
  if (!path.empty()) {
    file = Fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644));
    if (!file.valid()) {
      return error_from_errno(errno, fmt::format("opening log file {}", path));
    }
  }
  return std::unique_ptr<LogThread>(new LogThread(std::move(file)));
}

LogThread::LogThread(Fd file) : file_(std::move(file)) {
  LogThread* nobody = nullptr;
  CHECK_NOTE(g_running.compare_exchange_strong(nobody, this), "a second log thread");
  static const int registered = std::atexit(flush_at_exit);
  CHECK(registered == 0);
  log_attach_drainer(true);
  thread_ = std::thread([this] { work(); });
}

LogThread::~LogThread() {
  g_running.store(nullptr);
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_one();
  thread_.join();
  log_attach_drainer(false);
  flush();
}

void LogThread::work() {
  pthread_setname_np(pthread_self(), "pangu-log");
  std::unique_lock lock(mutex_);
  std::chrono::milliseconds interval = kIntervalMin;
  while (!stopping_) {
    stop_.wait_for(lock, interval);
    interval = drain() ? kIntervalMin : std::min(interval * 2, kIntervalMax);
  }
}

void LogThread::flush() {
  const std::lock_guard lock(mutex_);
  drain();
}

void LogThread::take(void* self, LogLevel level, std::string_view text) {
  auto* log = static_cast<LogThread*>(self);
  fmt::format_to(std::back_inserter(log->pending_), "{} {} {}\n",
                 format_wall_clock(wall_clock_us()), level_name(level), text);
}

// Returns whether there was anything to write. REQUIRES: mutex_ is held.
bool LogThread::drain() {
  log_drain(take, this);
  if (const u64 dropped = log_lines_dropped(); dropped != dropped_told_) {
    take(this, LogLevel::warn,
         fmt::format("{} log lines were lost: they came too fast", dropped - dropped_told_));
    dropped_told_ = dropped;
  }
  const bool any = !pending_.empty();
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const ssize_t wrote =
        ::write(file_.valid() ? file_.get() : STDERR_FILENO, rest.data(), rest.size());
    if (wrote < 0 && errno != EINTR) {
      break;  // nowhere to complain; the lines are lost
    }
    rest.remove_prefix(wrote > 0 ? static_cast<size_t>(wrote) : 0);
  }
  pending_.clear();
  return any;
}

}  // namespace pangu::env
