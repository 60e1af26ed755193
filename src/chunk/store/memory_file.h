#pragma once
#include <memory>
#include <vector>

#include "env/env.h"
#include "runtime/reactor.h"

// A file in memory: for tests, and for benchmarks of everything but the disk. Holds only blocks that
// were written; the rest reads as zeroes. Operations complete in the reactor's next turn, in the
// order in which they were started.
namespace pangu::chunk {

class MemoryFile final : public env::File {
 public:
  MemoryFile(Reactor& reactor, u64 size);
  ~MemoryFile() override;

  void read(env::Operation& op, u64 offset, MutableBytes into) override;
  void write(env::Operation& op, u64 offset, Bytes from, env::Durability durability,
             i32 registered_slot) override;
  void flush(env::Operation& op) override;
  u64 size() const override { return size_; }
  u32 alignment() const override { return 512; }
  bool volatile_cache() const override { return false; }
  Status resize(u64 bytes) override;

  // Direct access for tests.
  void peek(u64 offset, MutableBytes into) const;
  void poke(u64 offset, Bytes from);
  // The next operations of that kind fail with -error until it is set to 0.
  void fail_reads(int error) { read_error_ = error; }
  void fail_writes(int error) { write_error_ = error; }
  void fail_flushes(int error) { flush_error_ = error; }
  // Writes that need memory which was never written fail with -ENOSPC, as on a full file system.
  void refuse_growth(bool refuse) { refuse_growth_ = refuse; }
  u64 writes() const { return writes_; }
  u64 flushes() const { return flushes_; }
  // Operations complete on this reactor from now on. REQUIRES: none in flight.
  void move_to(Reactor& reactor) { reactor_ = &reactor; }

 private:
  struct Finish : Timer {
    MemoryFile* owner;
    explicit Finish(MemoryFile* file);
  };
  struct Pending {
    env::Operation* op;
    i64 result;
  };
  static constexpr u64 kBlock = 64 * kKiB;

  bool grows(u64 offset, u64 size) const;
  void complete(env::Operation& op, i64 result);
  void run_completions();

  Reactor* reactor_;
  u64 size_;
  std::vector<std::unique_ptr<std::byte[]>> blocks_;
  std::vector<Pending> pending_;
  std::vector<Pending> running_;
  Finish finish_{this};
  int read_error_ = 0;
  int write_error_ = 0;
  int flush_error_ = 0;
  bool refuse_growth_ = false;
  u64 writes_ = 0;
  u64 flushes_ = 0;
};

}  // namespace pangu::chunk
