#pragma once
#include "env/linux/files.h"

namespace pangu::env {

class EpollEnv;

class EpollFile final : public LinuxFile {
 public:
  EpollFile(EpollEnv& env, OpenedFile opened) : LinuxFile(std::move(opened)), env_(env) {}
  void read(Operation& op, u64 offset, MutableBytes into) override;
  void write(Operation& op, u64 offset, Bytes from, Durability durability,
             i32 registered_slot) override;
  void flush(Operation& op) override;
  // The blocking part, on a thread of the pool.
  static i64 execute(Operation& op);

 private:
  i64 read_all(std::byte* into, size_t size, u64 offset) const;
  i64 write_all(const std::byte* from, size_t size, u64 offset, bool durable) const;
  EpollEnv& env_;
};

}  // namespace pangu::env
