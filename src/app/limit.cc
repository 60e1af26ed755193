#include "app/limit.h"

#include <fmt/format.h>

#include "app/process.h"
#include "base/buffer.h"
#include "env/linux/linux_env.h"
#include "runtime/await.h"

namespace pangu::app {

namespace {
constexpr size_t kCopies = 3;
constexpr size_t kCopiesNeeded = 2;
constexpr size_t kWriteBytes = 8192;
constexpr u64 kFileBytes = 16 * kMiB;
constexpr size_t kReplyBytes = 64;
constexpr u64 kWarmUpRounds = 20;

// Three writes at once; remembers when the second one finished.
class Round {
 public:
  explicit Round(env::Env& env) : env_(env) {}
  void start(std::span<const std::unique_ptr<env::File>> files, u64 offset, Bytes from) {
    finished_ = 0;
    error_ = 0;
    all_.reset();
    started_ = env_.now();
    for (size_t i = 0; i < kCopies; ++i) {
      writes_[i].round = this;
      writes_[i].done = [](env::Operation* op, i64 result) noexcept {
        static_cast<Write*>(op)->round->finish(result);
      };
      files[i]->write(writes_[i], offset, from, env::Durability::durable_write, -1);
    }
  }
  Event& all() { return all_; }
  Duration second() const { return second_ - started_; }
  i64 error() const { return error_; }

 private:
  struct Write : env::Operation {
    Round* round = nullptr;
  };
  void finish(i64 result) {
    if (result != static_cast<i64>(kWriteBytes)) {
      error_ = result < 0 ? result : -EIO;
    }
    if (++finished_ == kCopiesNeeded) {
      second_ = env_.now();
    }
    if (finished_ == kCopies) {
      all_.set();
    }
  }
  env::Env& env_;
  std::array<Write, kCopies> writes_;
  size_t finished_ = 0;
  i64 error_ = 0;
  Instant started_;
  Instant second_;
  Event all_;
};

Task<Result<std::unique_ptr<env::File>>> prewritten_file(World& world, std::string path) {
  env::OpenOptions options;
  options.create = true;
  options.direct = true;
  CO_TRY(file, world.env().files().open(path, options));
  CO_TRY_VOID(file->resize(kFileBytes));
  const Slice zeroes = Slice::allocate(kMiB);
  for (u64 at = 0; at < kFileBytes; at += zeroes.size()) {
    const i64 wrote = co_await async_write(*file, at, zeroes.bytes(),
                                           env::Durability::volatile_write);
    if (wrote != static_cast<i64>(zeroes.size())) {
      co_return env::error_from_errno(wrote < 0 ? static_cast<int>(-wrote) : EIO, path);
    }
  }
  const i64 flushed = co_await async_flush(*file);
  if (flushed < 0) {
    co_return env::error_from_errno(static_cast<int>(-flushed), path);
  }
  co_return std::move(file);
}

Task<Status> measure_disk(World& world, std::string directory, LimitOptions options,
                          Histogram& into) {
  std::vector<std::unique_ptr<env::File>> files;
  for (size_t i = 0; i < kCopies; ++i) {
    auto file = co_await prewritten_file(world, fmt::format("{}/copy-{}", directory, i));
    if (!file.ok()) {
      co_return std::move(file).error();
    }
    files.push_back(std::move(*file));
  }
  const Slice data = Slice::allocate(kWriteBytes);
  std::fill_n(data.data(), data.size(), std::byte{0x5a});
  Round round(world.env());
  const Instant end = world.now() + options.duration / 2;
  for (u64 count = 0; world.now() < end || count <= kWarmUpRounds; ++count) {
    if (count >= kWarmUpRounds && options.pause.ns > 0) {
      co_await sleep_for(options.pause);
    }
    round.start(files, count * kWriteBytes % kFileBytes, data.bytes());
    while (!round.all().is_set()) {
      co_await round.all().wait();
    }
    if (round.error() != 0) {
      co_return env::error_from_errno(static_cast<int>(-round.error()), directory);
    }
    if (count >= kWarmUpRounds) {
      into.add(static_cast<u64>(round.second().ns));
    }
  }
  co_return ok_status();
}

// Ends the wait for a connection that never comes.
struct DoorCloser : Timer {
  env::Listener& door;
  explicit DoorCloser(env::Listener& listener)
      : Timer([](Timer* timer) noexcept { static_cast<DoorCloser*>(timer)->door.shutdown(); }),
        door(listener) {}
};

// Answers each request of one connection until the peer closes it.
Task<Unit> serve_echo(env::Listener& listener) {
  DoorCloser closer(listener);
  closer.arm(Reactor::current(), Reactor::current().now() + seconds(5));
  std::unique_ptr<env::Socket> socket;
  const i64 accepted = co_await async_accept(listener, socket);
  closer.cancel();
  if (accepted < 0) {
    co_return Unit{};
  }
  const Slice request = Slice::allocate(kWriteBytes);
  const Slice reply = Slice::allocate(kReplyBytes);
  iovec piece{reply.data(), kReplyBytes};
  for (;;) {
    const i64 got = co_await async_receive(*socket, request.mutable_bytes());
    if (got != static_cast<i64>(kWriteBytes)) {
      co_return Unit{};
    }
    const i64 sent = co_await async_send(*socket, std::span<const iovec>(&piece, 1));
    if (sent < 0) {
      co_return Unit{};
    }
  }
}

Task<Status> measure_round_trips(World& world, env::Address address, LimitOptions options,
                                 Histogram& into) {
  std::unique_ptr<env::Socket> socket;
  const i64 connected = co_await async_connect(world.env(), address, socket);
  if (connected < 0) {
    co_return env::error_from_errno(static_cast<int>(-connected), env::to_string(address));
  }
  const Slice request = Slice::allocate(kWriteBytes);
  const Slice reply = Slice::allocate(kReplyBytes);
  iovec piece{request.data(), kWriteBytes};
  const Instant end = world.now() + options.duration / 2;
  for (u64 count = 0; world.now() < end || count <= kWarmUpRounds; ++count) {
    if (count >= kWarmUpRounds && options.pause.ns > 0) {
      co_await sleep_for(options.pause);
    }
    const Instant start = world.now();
    const i64 sent = co_await async_send(*socket, std::span<const iovec>(&piece, 1));
    const i64 got = co_await async_receive(*socket, reply.mutable_bytes());
    if (sent < 0 || got != static_cast<i64>(reply.size())) {
      co_return Error(Code::kConnectionLost, "the loopback connection of the measurement broke");
    }
    if (count >= kWarmUpRounds) {
      into.add(static_cast<u64>((world.now() - start).ns));
    }
  }
  co_return ok_status();
}

Task<void> run_peer(env::Env& env, env::Listener& listener, ReactorOptions options, Event& done) {
  env::Env* const peer = &env;
  env::Listener* const door = &listener;
  auto serving = run_in_background([peer, door, options] {
    Reactor reactor(*peer, options);
    return run_blocking(reactor, serve_echo(*door));
  });
  co_await serving;
  done.set();
}

Task<Status> measure_tcp(World& world, LimitOptions options, Histogram& into) {
  CO_TRY(other, env::make_env(world.env_kind()));
  CO_TRY(loopback, env::parse_address("127.0.0.1:0"));
  CO_TRY(listener, other->listen(loopback));
  const env::Address address = listener->address();
  ReactorOptions reactor_options;
  reactor_options.spin = world.spin();
  Event served;
  world.reactor().spawn("limit peer", TaskClass::foreground,
                        run_peer(*other, *listener, reactor_options, served));
  Status status = co_await measure_round_trips(world, address, options, into);
  while (!served.is_set()) {
    co_await served.wait();
  }
  co_return status;
}
}  // namespace

Task<Result<LimitReport>> measure_limit(World& world, LimitOptions options) {
  const std::string directory =
      fmt::format("{}/.pangu-limit-{}", options.directory, own_process().pid);
  CO_TRY_VOID(world.env().files().make_directories(directory));
  LimitReport report;
  Status status = co_await measure_disk(world, directory, options, report.disk_ns);
  const Status removed = remove_tree(directory);
  CO_TRY_VOID(std::move(status));
  CO_TRY_VOID(removed);
  Status tcp = co_await measure_tcp(world, options, report.tcp_ns);
  CO_TRY_VOID(std::move(tcp));
  co_return std::move(report);
}

}  // namespace pangu::app
