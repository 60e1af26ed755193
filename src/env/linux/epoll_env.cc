#include "env/linux/epoll_env.h"

#include <cerrno>
#include <sys/epoll.h>

#include "env/linux/epoll_file.h"
#include "env/linux/epoll_socket.h"

namespace pangu::env {

namespace {
// As many transfers as can overlap; a disk gains little from more, and each costs a thread.
constexpr BackgroundPool::Options kFilePool{.name = "pangu-files", .threads_max = 8, .nice = 0};
}  // namespace

Result<std::unique_ptr<EpollEnv>> EpollEnv::make() {
  Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) {
    return error_from_errno(errno, "setting up epoll");
  }
  return std::unique_ptr<EpollEnv>(new EpollEnv(std::move(epoll)));
}

EpollEnv::EpollEnv(Fd epoll)
    : epoll_(std::move(epoll)),
      file_pool_(kFilePool, EpollFile::execute, finished_elsewhere_, sleeper_) {
  // Edge-triggered: each write to the eventfd is one event, and nobody has to read it.
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, sleeper_.fd(), &event) == 0);
}

void EpollEnv::watch(int fd, EpollSource& source) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = &source;
  CHECK_NOTE(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0,
             "the kernel watches no more sockets (fs.epoll.max_user_watches)");
}

std::unique_ptr<File> EpollEnv::make_file(OpenedFile opened) {
  return std::make_unique<EpollFile>(*this, std::move(opened));
}

Result<std::unique_ptr<Listener>> EpollEnv::listen(const Address& address) {
  Address bound;
  TRY(fd, open_listener(address, Blocking::no, bound));
  return std::unique_ptr<Listener>(std::make_unique<EpollListener>(*this, std::move(fd), bound));
}

void EpollEnv::connect(Operation& op, const Address& to, std::unique_ptr<Socket>& into) {
  Fd fd = open_stream(to, Blocking::no);
  if (!fd.valid()) {
    complete_later(op, -errno);
    return;
  }
  EpollSocket::connect(*this, op, std::move(fd), to, into);
}

void EpollEnv::collect_events(Duration timeout) {
  std::array<epoll_event, 128> events;
  constexpr int kEvents = static_cast<int>(events.size());
  int found = -1;
  if (has_fine_timeouts_) {
    const timespec time{.tv_sec = timeout.ns / 1'000'000'000,
                        .tv_nsec = timeout.ns % 1'000'000'000};
    found = ::epoll_pwait2(epoll_.get(), events.data(), kEvents, timeout.ns < 0 ? nullptr : &time,
                           nullptr);
    has_fine_timeouts_ = found >= 0 || errno == EINTR;
  }
  if (!has_fine_timeouts_) {
    // Before Linux 5.11, or forbidden: whole milliseconds, rounded up.
    const i64 ms = std::min<i64>((timeout.ns + 999'999) / 1'000'000, 60'000);
    found = ::epoll_wait(epoll_.get(), events.data(), kEvents,
                         timeout.ns < 0 ? -1 : static_cast<int>(ms));
  }
  for (int i = 0; i < found; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    if (event.data.ptr != nullptr) {
      static_cast<EpollSource*>(event.data.ptr)->on_ready(event.events);
    }
  }
}

size_t EpollEnv::poll() {
  if (waiting_ > 0) {
    collect_events(Duration{});
  }
  return run_completions();
}

size_t EpollEnv::wait(Instant deadline) {
  if (has_completions() || !sleeper_.begin_sleep()) {
    return poll();
  }
  Duration timeout{-1};
  if (deadline != Instant::never()) {
    timeout = std::max(deadline - now(), Duration{});
  }
  collect_events(timeout);
  sleeper_.end_sleep();
  return run_completions();
}

}  // namespace pangu::env
