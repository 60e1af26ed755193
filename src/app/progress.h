#pragma once
#include <optional>
#include <string>

#include "base/time.h"
#include "base/types.h"

// One line that shows how far a transfer is. Only on a terminal; in a pipe nothing is printed.
namespace pangu::app {

// "big.tar  [=========>          ]  47 %  123.4 MiB  98.1 MiB/s  ETA 1 s". Without `total` neither
// bar nor ETA.
std::string progress_line(std::string_view label, u64 done, std::optional<u64> total,
                          Duration elapsed);

class Progress {
 public:
  Progress(std::string label, std::optional<u64> total, Instant now);
  // Counts and never draws.
  static Progress silent() { return Progress(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();  // clears the line
  // For one that did not know it at the start.
  void set_total(u64 total) {
    if (!total_) {
      total_ = total;
    }
  }
  // Draws at most ten times a second.
  void add(u64 bytes, Instant now);
  // A line of its own above the bar, on standard output.
  void note(const std::string& text);
  // Leaves the finished line on the screen.
  void finish(Instant now);
  u64 done() const { return done_; }
  Duration elapsed(Instant now) const { return now - start_; }

 private:
  Progress() = default;
  void draw(Instant now);
  std::string label_;
  std::optional<u64> total_;
  Instant start_;
  Instant drawn_;
  u64 done_ = 0;
  bool terminal_ = false;
  bool on_screen_ = false;
};

// Whether standard output (1) or error (2) is a terminal.
bool is_terminal(int fd);

}  // namespace pangu::app
