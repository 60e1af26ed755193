#include "base/log.h"

#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>

#include "base/bytes.h"

namespace pangu {

namespace {

constexpr size_t kRingBytes = 64 * kKiB;
constexpr size_t kLineBytesMax = 4 * kKiB;

// Single producer (the thread that owns it), single consumer (the drainer). A record is
// {u16 length, u8 level} and the text; records wrap byte by byte.
struct Ring {
  std::atomic<u64> head{0};  // written by the producer
  std::atomic<u64> tail{0};  // written by the consumer
  Ring* next = nullptr;
  char bytes[kRingBytes];

  void copy_in(u64 at, const void* from, size_t size) {
    for (size_t i = 0; i < size; ++i) {
      bytes[(at + i) % kRingBytes] = static_cast<const char*>(from)[i];
    }
  }
  void copy_out(u64 at, void* to, size_t size) const {
    for (size_t i = 0; i < size; ++i) {
      static_cast<char*>(to)[i] = bytes[(at + i) % kRingBytes];
    }
  }
};

struct Header {
  u16 size;
  LogLevel level;
  u8 zero = 0;
};

std::atomic<Ring*> g_rings{nullptr};  // rings outlive their threads: the drainer may be late
std::atomic<u64> g_dropped{0};
std::atomic<bool> g_drained{false};
std::atomic<LogLevel> g_level{LogLevel::info};
LogSink g_sink = nullptr;
void* g_sink_context = nullptr;

Ring& ring_of_this_thread() {
  thread_local Ring* ring = nullptr;
  if (ring == nullptr) {
    ring = new Ring;
    ring->next = g_rings.load(std::memory_order_relaxed);
    while (!g_rings.compare_exchange_weak(ring->next, ring, std::memory_order_release)) {
    }
  }
  return *ring;
}

}  // namespace

std::string_view level_name(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warn:
      return "warn";
    case LogLevel::error:
      return "error";
  }
  return "?";
}

void set_log_level(LogLevel level) {
  g_level.store(level, std::memory_order_relaxed);
}
LogLevel log_level() {
  return g_level.load(std::memory_order_relaxed);
}
void log_attach_drainer(bool attached) {
  g_drained.store(attached, std::memory_order_release);
}
u64 log_lines_dropped() {
  return g_dropped.load(std::memory_order_relaxed);
}

void set_log_sink(LogSink sink, void* context) {
  g_sink = sink;
  g_sink_context = context;
}

void log_line(LogLevel level, std::string_view text) {
  if (g_sink != nullptr) {
    g_sink(g_sink_context, level, text);
    return;
  }
  if (!g_drained.load(std::memory_order_acquire)) {
    const std::string_view name = level_name(level);
    std::fprintf(stderr, "%.*s: %.*s\n", static_cast<int>(name.size()), name.data(),
                 static_cast<int>(text.size()), text.data());
    return;
  }
  text = text.substr(0, kLineBytesMax);
  Ring& ring = ring_of_this_thread();
  const u64 head = ring.head.load(std::memory_order_relaxed);
  const u64 used = head - ring.tail.load(std::memory_order_acquire);
  if (used + sizeof(Header) + text.size() > kRingBytes) {
    g_dropped.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const Header header{.size = static_cast<u16>(text.size()), .level = level};
  ring.copy_in(head, &header, sizeof header);
  ring.copy_in(head + sizeof header, text.data(), text.size());
  ring.head.store(head + sizeof header + text.size(), std::memory_order_release);
}

size_t log_drain(LogSink sink, void* context) {
  size_t lines = 0;
  char text[kLineBytesMax];
  for (Ring* ring = g_rings.load(std::memory_order_acquire); ring != nullptr; ring = ring->next) {
    u64 tail = ring->tail.load(std::memory_order_relaxed);
    const u64 head = ring->head.load(std::memory_order_acquire);
    while (tail < head) {
      Header header{};
      ring->copy_out(tail, &header, sizeof header);
      ring->copy_out(tail + sizeof header, text, header.size);
      tail += sizeof header + header.size;
      ring->tail.store(tail, std::memory_order_release);
      sink(context, header.level, std::string_view(text, header.size));
      ++lines;
    }
  }
  return lines;
}

}  // namespace pangu
