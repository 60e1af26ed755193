#pragma once
#include "env/linux/common_env.h"
#include "env/linux/sockets.h"

namespace pangu::env {

// Something in the epoll set. on_ready() may end operations but runs no `done`: nothing is
// destroyed while a batch of events is being looked at.
class EpollSource {
 public:
  virtual void on_ready(u32 events) = 0;

 protected:
  ~EpollSource() = default;
};

// The Env for machines where io_uring is forbidden: edge-triggered epoll for sockets and a pool of
// threads for files.
class EpollEnv final : public CommonEnv {
 public:
  static Result<std::unique_ptr<EpollEnv>> make();

  Result<std::unique_ptr<Listener>> listen(const Address& address) override;
  void connect(Operation& op, const Address& to, std::unique_ptr<Socket>& into) override;
  size_t poll() override;
  size_t wait(Instant deadline) override;
  i32 register_memory(std::byte*, size_t) override { return -1; }
  std::string_view name() const override { return "epoll"; }

  // For its files and sockets.
  void submit_file_operation(Operation& op) { file_pool_.submit(op); }
  void watch(int fd, EpollSource& source);
  // How many operations wait for readiness: while none does, there is nothing to ask the kernel.
  void add_waiting(i64 count) { waiting_ += count; }

 private:
  explicit EpollEnv(Fd epoll);
  std::unique_ptr<File> make_file(OpenedFile opened) override;
  // timeout.ns < 0: for ever.
  void collect_events(Duration timeout);

  Fd epoll_;
  i64 waiting_ = 0;
  bool has_fine_timeouts_ = true;
  BackgroundPool file_pool_;
};

}  // namespace pangu::env
