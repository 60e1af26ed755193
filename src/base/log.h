#pragma once
#include <fmt/core.h>
#include <string>
#include <string_view>

#include "base/types.h"

// Asynchronous logging. The calling thread formats into its own lock-free ring and goes on: it
// never writes a file, takes a lock or waits. A drainer (env/linux/log_thread.h) stamps the time
// and writes. Without a drainer, lines go to stderr at once (tests, small tools). A simulated world
// installs a direct sink that stamps simulated time.
namespace pangu {

enum class LogLevel : u8 { debug, info, warn, error };
std::string_view level_name(LogLevel level);

// The lowest level that is kept. Default: info.
void set_log_level(LogLevel level);
LogLevel log_level();

// Queues one line. If this thread's ring is full the line is dropped and counted.
void log_line(LogLevel level, std::string_view text);

using LogSink = void (*)(void* context, LogLevel level, std::string_view text);
// All lines of the process go straight to `sink` on the calling thread (nullptr: back to the
// rings). Not thread safe: for simulation and for process start.
void set_log_sink(LogSink sink, void* context);

// For the drainer: while `attached`, lines stay in the rings until log_drain takes them.
void log_attach_drainer(bool attached);
// Hands every queued line of every thread to `sink` and returns how many; one caller at a time.
size_t log_drain(LogSink sink, void* context);
// Lines lost to full rings since the process started.
u64 log_lines_dropped();

template <class... Args>
void log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  if (level >= log_level()) {
    log_line(level, fmt::format(format, std::forward<Args>(args)...));
  }
}

}  // namespace pangu

#define LOG_DEBUG(...) ::pangu::log(::pangu::LogLevel::debug, __VA_ARGS__)
#define LOG_INFO(...) ::pangu::log(::pangu::LogLevel::info, __VA_ARGS__)
#define LOG_WARN(...) ::pangu::log(::pangu::LogLevel::warn, __VA_ARGS__)
#define LOG_ERROR(...) ::pangu::log(::pangu::LogLevel::error, __VA_ARGS__)
