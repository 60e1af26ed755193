#pragma once
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <string>

#include "env/env.h"

// The conformance suite of Env: what every implementation must do, whatever is behind it. The tests
// stand in conformance_*_test.cc. A test binary runs them against its own implementation so:
//
//   target:  pangu_test(env_foo SOURCES foo_test.cc DEPS env env_foo env_conformance)
//   source:  std::unique_ptr<World> make_foo_world();
//            INSTANTIATE_TEST_SUITE_P(Foo, Conformance,
//                                     testing::Values(WorldMaker{"foo", make_foo_world}),
//                                     world_name);
namespace pangu::env::conformance {

// A fresh world for one test. Destroyed after everything that the test made in it.
class World {
 public:
  virtual ~World() = default;
  // The Env under test.
  virtual Env& env() = 0;
  // The Env that plays the other end of connections; may be the same one.
  virtual Env& peer() { return env(); }
  // Drives the world until `condition` holds. Returns false if it gave up: nothing can happen any
  // more, or a limit of the world's choice (some ten seconds) has passed.
  [[nodiscard]] virtual bool run_until(const std::function<bool()>& condition) = 0;
  // Drives the world for about that long.
  virtual void run_for(Duration duration) = 0;
  // An existing, empty directory of env().files() that is this world's own.
  virtual std::string scratch_dir() = 0;
  // Where env() can listen (port 0: any), so that peer() reaches it at Listener::address().
  virtual Address listen_address() = 0;

  // What a world may lack.
  virtual bool can_block() { return true; }    // Env::wait(deadline) may be called by the test
  virtual bool has_threads() { return true; }  // wake() and background work on other threads
};

struct WorldMaker {
  std::string name;
  std::function<std::unique_ptr<World>()> make;
};
inline void PrintTo(const WorldMaker& maker, std::ostream* out) {
  *out << maker.name;
}
inline std::string world_name(const testing::TestParamInfo<WorldMaker>& info) {
  return info.param.name;
}

class Conformance : public testing::TestWithParam<WorldMaker> {
 protected:
  void SetUp() override { world_ = GetParam().make(); }
  void TearDown() override { world_.reset(); }
  World& world() { return *world_; }
  Env& env() { return world_->env(); }
  Env& peer() { return world_->peer(); }
  FileSystem& files() { return world_->env().files(); }
  std::string path(std::string_view name) {
    return world_->scratch_dir() + "/" + std::string(name);
  }

 private:
  std::unique_ptr<World> world_;
};

// An operation whose result can be looked at.
struct Waited : BackgroundOperation {
  bool finished = false;
  i64 result = 0;
  Waited() {
    done = [](Operation* op, i64 outcome) noexcept {
      auto* self = static_cast<Waited*>(static_cast<BackgroundOperation*>(op));
      EXPECT_FALSE(self->finished) << "done was called twice";
      self->finished = true;
      self->result = outcome;
    };
  }
  // For another operation on the same object.
  void reset() { finished = false; }
};

// 4096-aligned bytes.
class Aligned {
 public:
  explicit Aligned(size_t size)
      : data_(static_cast<std::byte*>(std::aligned_alloc(4096, round_up(size, 4096)))),
        size_(size) {
    std::memset(data_, 0, size);
  }
  Aligned(const Aligned&) = delete;
  Aligned& operator=(const Aligned&) = delete;
  ~Aligned() { std::free(data_); }
  std::byte* data() { return data_; }
  size_t size() const { return size_; }
  MutableBytes bytes() { return {data_, size_}; }
  MutableBytes part(size_t offset, size_t size) { return bytes().subspan(offset, size); }
  iovec piece(size_t offset, size_t size) { return {data_ + offset, size}; }
  void fill(u64 seed);

 private:
  std::byte* data_;
  size_t size_;
};

// Drives the world until `op` is done and returns its result; a test failure if that never happens.
i64 finish(World& world, Waited& op);

// One file operation, start to end.
i64 write_now(World& world, File& file, u64 offset, Bytes from,
              Durability durability = Durability::volatile_write, i32 slot = -1);
i64 read_now(World& world, File& file, u64 offset, MutableBytes into);
i64 flush_now(World& world, File& file);

// Both ends of a connection: `server` belongs to env(), `client` to peer().
struct Connection {
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Socket> server;
  std::unique_ptr<Socket> client;
  explicit Connection(World& world);
};

}  // namespace pangu::env::conformance
