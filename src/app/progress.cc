#include "app/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include "app/report.h"
#include "base/units.h"

namespace pangu::app {

namespace {
constexpr size_t kBarWidth = 24;
constexpr Duration kDrawPeriod = milliseconds(100);
}  // namespace

bool is_terminal(int fd) { return ::isatty(fd) == 1; }

std::string progress_line(std::string_view label, u64 done, std::optional<u64> total,
                          Duration elapsed) {
  const double taken = std::max(elapsed.seconds(), 1e-6);
  const double rate = static_cast<double>(done) / taken;
  const std::string speed = fmt::format("{:>9}/s", format_size(static_cast<u64>(rate)));
  if (!total) {
    return fmt::format("{}  {:>9}  {}", label, format_size(done), speed);
  }
  const double fraction =
      *total == 0 ? 1.0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(*total));
  const size_t filled = static_cast<size_t>(fraction * static_cast<double>(kBarWidth));
  std::string bar(filled, '=');
  if (filled < kBarWidth) {
    bar += '>';
    bar.resize(kBarWidth, ' ');
  }
  std::string line = fmt::format("{}  [{}] {:3} %  {:>9}  {}", label, bar,
                                 static_cast<int>(fraction * 100), format_size(done), speed);
  if (fraction < 1 && rate > 0) {
    const double left = static_cast<double>(*total - done) / rate;
    line += fmt::format("  ETA {:.0f} s", left);
  }
  return line;
}

Progress::Progress(std::string label, std::optional<u64> total, Instant now)
    : label_(std::move(label)),
      total_(total),
      start_(now),
      drawn_(now),
      terminal_(is_terminal(STDERR_FILENO)) {}

Progress::~Progress() {
  if (on_screen_) {
    print_note("\r\x1b[K");
  }
}

void Progress::add(u64 bytes, Instant now) {
  done_ += bytes;
  if (terminal_ && now - drawn_ >= kDrawPeriod) {
    draw(now);
  }
}

void Progress::note(const std::string& text) {
  if (on_screen_) {
    print_note("\r\x1b[K");
    on_screen_ = false;
  }
  (void)print(text + "\n");
}

void Progress::finish(Instant now) {
  if (terminal_) {
    draw(now);
    print_note("\n");
    on_screen_ = false;
  }
}

void Progress::draw(Instant now) {
  drawn_ = now;
  on_screen_ = true;
  print_note(fmt::format("\r{}\x1b[K", progress_line(label_, done_, total_, now - start_)));
}

}  // namespace pangu::app
