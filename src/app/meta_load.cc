#include "app/meta_load.h"

#include <fmt/format.h>

#include "app/process.h"
#include "base/prng.h"
#include "runtime/await.h"

namespace pangu::app {

namespace {
// A cluster that only fails is not worth measuring to the end.
constexpr u64 kErrorsInARowMax = 10'000;
constexpr u64 kPreparersMax = 256;
constexpr u32 kListed = 100;  // entries of one list
}  // namespace

MetaLoad::MetaLoad(World& world, std::vector<client::Client*> clients, std::vector<i32> processes,
                   MetaLoadOptions options)
    : world_(world),
      clients_(std::move(clients)),
      processes_(std::move(processes)),
      options_(std::move(options)) {
  for (u64 i = 0; i < options_.callers; ++i) {
    callers_.push_back({.number = i});
  }
}

std::string MetaLoad::directory_of(u64 number) const {
  return fmt::format("{}/d{}", options_.directory, number % options_.directories);
}

std::string MetaLoad::prepared_file(u64 number) const {
  return fmt::format("{}/f{}", directory_of(number), number);
}

Task<void> MetaLoad::make_directories(u64 first, Status& status) {
  for (u64 i = first; i < options_.directories && status.ok(); i += kPreparersMax) {
    auto made = co_await client_of(i).make_directory(directory_of(i), false);
    if (!made.ok() && status.ok()) {
      status = std::move(made).error();
    }
  }
}

Task<void> MetaLoad::make_files(u64 first, Status& status) {
  for (u64 i = first; i < options_.files && status.ok(); i += kPreparersMax) {
    auto made = co_await client_of(i).create(prepared_file(i), {});
    if (!made.ok() && status.ok()) {
      status = std::move(made).error();
    }
  }
}

Task<Status> MetaLoad::prepare() {
  Status status;
  Gate directories;
  for (u64 i = 0; i < std::min(kPreparersMax, options_.directories); ++i) {
    directories.spawn(world_.reactor(), "bench prepare", TaskClass::foreground,
                      make_directories(i, status));
  }
  co_await directories.close();
  Gate files;
  for (u64 i = 0; i < std::min(kPreparersMax, options_.files); ++i) {
    files.spawn(world_.reactor(), "bench prepare", TaskClass::foreground, make_files(i, status));
  }
  co_await files.close();
  co_return status;
}

// What the caller does next; nothing if there is nothing left to do.
std::optional<std::string> MetaLoad::next_path(Caller& caller, u64 random) {
  switch (options_.operation) {
    case MetaOperation::create:
    case MetaOperation::make_directory:
      return fmt::format("{}/c{}-{}", directory_of(caller.number), caller.number,
                         caller.next_name++);
    case MetaOperation::stat:
      return prepared_file(random % options_.files);
    case MetaOperation::list:
      return directory_of(random % options_.directories);
    case MetaOperation::remove:
      return next_file_ < options_.files ? std::optional(prepared_file(next_file_++))
                                         : std::nullopt;
  }
  return std::nullopt;
}

Task<Status> MetaLoad::operate(Caller& caller, std::string path) {
  client::Client& client = client_of(caller.number);
  switch (options_.operation) {
    case MetaOperation::create: {
      auto done = co_await client.create(std::move(path), {});
      co_return done.ok() ? ok_status() : Status(std::move(done).error());
    }
    case MetaOperation::make_directory: {
      auto done = co_await client.make_directory(std::move(path), false);
      co_return done.ok() ? ok_status() : Status(std::move(done).error());
    }
    case MetaOperation::stat: {
      auto done = co_await client.stat(std::move(path));
      co_return done.ok() ? ok_status() : Status(std::move(done).error());
    }
    case MetaOperation::list: {
      auto done = co_await client.list(std::move(path), {}, kListed);
      co_return done.ok() ? ok_status() : Status(std::move(done).error());
    }
    case MetaOperation::remove: {
      auto done = co_await client.remove(std::move(path), false);
      co_return done.ok() ? ok_status() : Status(std::move(done).error());
    }
  }
  co_return ok_status();
}

void MetaLoad::note_success(Caller& caller, Instant now) {
  report_.longest_gap = std::max(report_.longest_gap, now - last_success_);
  last_success_ = now;
  caller.longest_gap = std::max(caller.longest_gap, now - caller.last_success);
  caller.last_success = now;
}

void MetaLoad::count(Caller& caller, Instant start, std::string path, const Status& status) {
  const Instant now = world_.now();
  if (status.ok()) {
    errors_in_a_row_ = 0;
    if (options_.keep_names) {
      report_.acknowledged.push_back(std::move(path));
    }
    if (measuring_) {
      report_.latency_ns.add(static_cast<u64>((now - start).ns));
      note_success(caller, now);
    }
    return;
  }
  ++errors_in_a_row_;
  ++report_.errors;
  ++report_.errors_by_code[std::string(code_name(status.code()))];
  if (!report_.first_error) {
    report_.first_error = status.error();
  }
}

Task<void> MetaLoad::call(Caller& caller, u64 seed) {
  Prng prng(seed);
  while (!ending_ && errors_in_a_row_ < kErrorsInARowMax) {
    std::optional<std::string> path = next_path(caller, prng.next());
    if (!path) {
      break;
    }
    const Instant start = world_.now();
    const Status status = co_await operate(caller, *path);
    count(caller, start, std::move(*path), status);
  }
  --running_;
  ended_.wake_all();
}

Duration MetaLoad::servers_cpu() const {
  Duration sum;
  for (const i32 pid : processes_) {
    sum = sum + processor_time_of(pid).value_or(Duration{});
  }
  return sum;
}

void MetaLoad::open_window() {
  report_.client_cpu = processor_time();
  report_.server_cpu = servers_cpu();
  opened_ = last_success_ = world_.now();
  for (Caller& caller : callers_) {
    caller.last_success = opened_;
  }
  measuring_ = true;
}

void MetaLoad::close_window() {
  measuring_ = false;
  const Instant now = world_.now();
  report_.elapsed = now - opened_;
  report_.client_cpu = processor_time() - report_.client_cpu;
  report_.server_cpu = servers_cpu() - report_.server_cpu;
  report_.servers_measured = !processes_.empty();
  // A gap may still be open.
  report_.longest_gap = std::max(report_.longest_gap, now - last_success_);
  for (Caller& caller : callers_) {
    caller.longest_gap = std::max(caller.longest_gap, now - caller.last_success);
    report_.longest_caller_gap = std::max(report_.longest_caller_gap, caller.longest_gap);
  }
}

Task<void> MetaLoad::run() {
  Gate gate;
  u64 seed = 0;
  for (Caller& caller : callers_) {
    for (u64 i = 0; i < options_.depth; ++i) {
      ++running_;
      gate.spawn(world_.reactor(), "bench meta", TaskClass::foreground, call(caller, ++seed));
    }
  }
  const Instant warm = world_.now() + options_.warm_up;
  while (running_ > 0 && world_.now() < warm) {
    co_await ended_.wait(warm);
  }
  open_window();
  const Instant end = world_.now() + options_.duration;
  while (running_ > 0 && world_.now() < end) {
    co_await ended_.wait(end);
  }
  close_window();
  ending_ = true;
  co_await gate.close();
}

}  // namespace pangu::app
