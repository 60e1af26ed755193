#pragma once
#include "env/linux/common_env.h"
#include "env/linux/uring_ring.h"

namespace pangu::env {

// The Env over io_uring: one kernel entry a turn of the reactor submits everything, collects
// everything and sleeps.
class UringEnv final : public CommonEnv {
 public:
  // An error where io_uring is forbidden or too old.
  static Result<std::unique_ptr<UringEnv>> make();

  Result<std::unique_ptr<Listener>> listen(const Address& address) override;
  void connect(Operation& op, const Address& to, std::unique_ptr<Socket>& into) override;
  size_t poll() override;
  size_t wait(Instant deadline) override;
  i32 register_memory(std::byte* base, size_t size) override {
    return ring_.register_memory(base, size);
  }
  void unregister_memory(i32 slot) override { ring_.unregister_memory(slot); }
  std::string_view name() const override { return "io_uring"; }

  Ring& ring() { return ring_; }

 private:
  UringEnv() = default;
  std::unique_ptr<File> make_file(OpenedFile opened) override;
  size_t collect();
  Ring ring_;
};

}  // namespace pangu::env
