#include "env/linux/uring_env.h"

#include "env/linux/uring_file.h"
#include "env/linux/uring_socket.h"

namespace pangu::env {

Result<std::unique_ptr<UringEnv>> UringEnv::make() {
  std::unique_ptr<UringEnv> env(new UringEnv);
  TRY_VOID(env->ring_.open());
  return env;
}

std::unique_ptr<File> UringEnv::make_file(OpenedFile opened) {
  return std::make_unique<UringFile>(ring_, std::move(opened));
}

Result<std::unique_ptr<Listener>> UringEnv::listen(const Address& address) {
  Address bound;
  TRY(fd, open_listener(address, Blocking::yes, bound));
  return std::unique_ptr<Listener>(std::make_unique<UringListener>(*this, std::move(fd), bound));
}

void UringEnv::connect(Operation& op, const Address& to, std::unique_ptr<Socket>& into) {
  Fd fd = open_stream(to, Blocking::yes);
  if (!fd.valid()) {
    complete_later(op, -errno);
    return;
  }
  UringSocket::connect(*this, op, std::move(fd), to, into);
}

size_t UringEnv::collect() {
  const size_t ended = has_completions() ? run_completions() : 0;
  return ended + ring_.reap();
}

size_t UringEnv::poll() {
  ring_.enter();
  return collect();
}

size_t UringEnv::wait(Instant deadline) {
  // What has ended already; and a wake-up that came before, which also covers whatever other
  // threads finished: they wake after they push.
  if (has_completions() || ring_.has_completions() || !sleeper_.begin_sleep()) {
    return poll();
  }
  Duration timeout{-1};
  if (deadline != Instant::never()) {
    timeout = std::max(deadline - now(), Duration{});
  }
  ring_.enter_and_wait(timeout, sleeper_.fd());
  sleeper_.end_sleep();
  return collect();
}

}  // namespace pangu::env
