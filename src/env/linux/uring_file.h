#pragma once
#include "env/linux/files.h"
#include "env/linux/uring_ring.h"

namespace pangu::env {

class UringFile final : public LinuxFile {
 public:
  UringFile(Ring& ring, OpenedFile opened) : LinuxFile(std::move(opened)), ring_(ring) {}
  void read(Operation& op, u64 offset, MutableBytes into) override;
  void write(Operation& op, u64 offset, Bytes from, Durability durability,
             i32 registered_slot) override;
  void flush(Operation& op) override;

 private:
  static void on_part(Operation& op, i32 result);
  static void on_flushed(Operation& op, i32 result);
  void submit(Operation& op);
  Ring& ring_;
};

}  // namespace pangu::env
