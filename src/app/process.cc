#include "app/process.h"

#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <fmt/format.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/local_file.h"
#include "app/value.h"
#include "env/env.h"

extern char** environ;

namespace pangu::app {

namespace {
constexpr int kReadyFd = 3;

struct ProcessState {
  char state = 0;
  u64 start_ticks = 0;
  u64 cpu_ticks = 0;  // user and system
};

// Fields 3, 14, 15 and 22 of /proc/PID/stat; the name in field 2 may hold anything, so read from
// its end.
std::optional<ProcessState> read_state(i32 pid) {
  const auto text = read_small_file(fmt::format("/proc/{}/stat", pid));
  if (!text.ok()) {
    return std::nullopt;
  }
  const size_t name_end = text->rfind(')');
  if (name_end == text->npos) {
    return std::nullopt;
  }
  const std::vector<std::string> fields = split(text->substr(name_end + 1), ' ');
  constexpr size_t kStartTime = 22 - 3;
  if (fields.size() <= kStartTime || fields[0].empty()) {
    return std::nullopt;
  }
  const auto number = [&](size_t field) {
    const auto parsed = parse_count(fields[field]);
    return parsed.ok() ? *parsed : 0;
  };
  constexpr size_t kUserTime = 14 - 3;
  return ProcessState{fields[0][0], number(kStartTime), number(kUserTime) + number(kUserTime + 1)};
}

int signal_number(Signal signal) {
  switch (signal) {
    case Signal::terminate:
      return SIGTERM;
    case Signal::kill:
      return SIGKILL;
    case Signal::stop:
      return SIGSTOP;
    case Signal::resume:
      return SIGCONT;
  }
  return 0;
}

// A handle that cannot come to mean another process, or -1.
int open_process(const ProcessId& process) {
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0));
  if (fd >= 0 && !is_running(process)) {
    ::close(fd);
    return -1;
  }
  return fd;
}
}  // namespace

bool is_running(const ProcessId& process) {
  const auto state = read_state(process.pid);
  return state && state->start_ticks == process.start_ticks && state->state != 'Z' &&
         state->state != 'X';
}

ProcessId own_process() {
  const i32 pid = ::getpid();
  const auto state = read_state(pid);
  return {pid, state ? state->start_ticks : 0};
}

Status send_signal(const ProcessId& process, Signal signal) {
  const int fd = open_process(process);
  if (fd < 0) {
    return Error(Code::kNotFound, fmt::format("process {} does not run any more", process.pid));
  }
  const long sent = ::syscall(SYS_pidfd_send_signal, fd, signal_number(signal), nullptr, 0);
  const int error = errno;
  ::close(fd);
  return sent == 0 ? Status()
                   : Status(env::error_from_errno(error, fmt::format("process {}", process.pid)));
}

bool wait_for_exit(const ProcessId& process, Duration timeout) {
  const int fd = open_process(process);
  bool ended = fd < 0;
  if (!ended) {
    pollfd waiting{fd, POLLIN, 0};
    ended = ::poll(&waiting, 1, static_cast<int>(timeout.ms())) > 0;
    ::close(fd);
  }
  if (ended) {
    int status = 0;
    ::waitpid(process.pid, &status, WNOHANG);
  }
  return ended;
}

StartedProcess::StartedProcess(ProcessId process, int ready_fd, std::string log_path)
    : process_(process), ready_fd_(ready_fd), log_path_(std::move(log_path)) {}
StartedProcess::StartedProcess(StartedProcess&& other) noexcept
    : process_(other.process_),
      ready_fd_(std::exchange(other.ready_fd_, -1)),
      log_path_(std::move(other.log_path_)) {}
StartedProcess::~StartedProcess() {
  if (ready_fd_ >= 0) {
    ::close(ready_fd_);
  }
}

Result<StartedProcess> StartedProcess::start(const StartOptions& options) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return env::error_from_errno(errno, "making a pipe");
  }
  std::vector<std::string> words = options.words;
  words.insert(words.begin(), "pangu");
  words.push_back(fmt::format("--ready-fd={}", kReadyFd));
  std::vector<char*> argv;
  for (std::string& word : words) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, options.log_path.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  posix_spawn_file_actions_adddup2(&files, ends[1], kReadyFd);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
  pid_t pid = 0;
  const int error =
      ::posix_spawn(&pid, own_program_path().c_str(), &files, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  ::close(ends[1]);
  if (error != 0) {
    ::close(ends[0]);
    return env::error_from_errno(error, fmt::format("starting pangu {}", options.words[0]));
  }
  const auto state = read_state(pid);
  return StartedProcess({pid, state ? state->start_ticks : 0}, ends[0], options.log_path);
}

Result<std::string> StartedProcess::wait_ready(Duration timeout) {
  pollfd waiting{ready_fd_, POLLIN, 0};
  const int ready = ::poll(&waiting, 1, static_cast<int>(timeout.ms()));
  if (ready == 0) {
    return Error(Code::kTimeout, fmt::format("process {} was not ready after {} s; its log is {}",
                                             process_.pid, timeout.ms() / 1000, log_path_));
  }
  char buffer[512];
  const ssize_t got = ready < 0 ? -1 : ::read(ready_fd_, buffer, sizeof buffer);
  if (got <= 0) {
    wait_for_exit(process_, seconds(1));
    return Error(Code::kUnavailable, fmt::format("the process ended at its start; {} says:\n{}",
                                                 log_path_, last_lines(log_path_, 5)));
  }
  return std::string(buffer, static_cast<size_t>(got));
}

Status run_program(const std::vector<std::string>& words) {
  std::vector<std::string> copy = words;
  std::vector<char*> argv;
  for (std::string& word : copy) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int error = ::posix_spawnp(&pid, argv[0], nullptr, nullptr, argv.data(), environ);
  if (error != 0) {
    return env::error_from_errno(error, fmt::format("starting {}", words[0]));
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return Error(Code::kIoError, fmt::format("{} failed", words[0]));
  }
  return {};
}

void announce_ready(int fd, std::string_view text) {
  // A starter that is gone already is none of our business.
  const ssize_t written = ::write(fd, text.data(), text.size());
  static_cast<void>(written);
  ::close(fd);
}

std::string last_lines(const std::string& path, size_t lines) {
  const auto text = read_small_file(path);
  if (!text.ok()) {
    return "";
  }
  size_t begin = text->size();
  for (size_t i = 0; i <= lines && begin > 0 && begin != text->npos; ++i) {
    begin = text->rfind('\n', begin - 1);
  }
  return begin == text->npos ? *text : text->substr(begin == 0 ? 0 : begin + 1);
}

void raise_open_files(u64 wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) {
    return;
  }
  rlimit raised{wanted, std::max<rlim_t>(wanted, limit.rlim_max)};
  if (::setrlimit(RLIMIT_NOFILE, &raised) != 0) {
    raised = {std::min<rlim_t>(wanted, limit.rlim_max), limit.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &raised);
  }
}

Duration processor_time() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto total = [](const timeval& t) { return seconds(t.tv_sec) + microseconds(t.tv_usec); };
  return total(usage.ru_utime) + total(usage.ru_stime);
}

std::optional<Duration> processor_time_of(i32 pid) {
  const auto state = read_state(pid);
  if (!state) {
    return std::nullopt;
  }
  const i64 ticks_a_second = ::sysconf(_SC_CLK_TCK);
  return nanoseconds(static_cast<i64>(state->cpu_ticks) * (1'000'000'000 / ticks_a_second));
}

std::string own_program_path() {
  char path[4096];
  const ssize_t size = ::readlink("/proc/self/exe", path, sizeof path);
  return size <= 0 ? "pangu" : std::string(path, static_cast<size_t>(size));
}

std::string own_program_name() {
  const std::string own = own_program_path();
  for (const std::string& folder : split(environment_value("PATH").value_or(""), ':')) {
    if (absolute_path(folder + "/pangu") == own) {
      return "pangu";
    }
  }
  const std::string here = absolute_path(".") + "/";
  return own.starts_with(here) ? own.substr(here.size()) : own;
}

Result<std::string> make_temporary_directory(std::string_view name) {
  std::string pattern =
      fmt::format("{}/{}-XXXXXX", environment_value("TMPDIR").value_or("/tmp"), name);
  if (::mkdtemp(pattern.data()) == nullptr) {
    return env::error_from_errno(errno, fmt::format("making the directory {}", pattern));
  }
  return pattern;
}

Status remove_tree(const std::string& path) {
  const auto remove_one = [](const char* name, const struct stat*, int, FTW*) {
    return ::remove(name);
  };
  if (::nftw(path.c_str(), remove_one, 32, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT) {
    return env::error_from_errno(errno, fmt::format("removing {}", path));
  }
  return {};
}

std::vector<std::string> environment_names() {
  std::vector<std::string> names;
  for (char** at = environ; *at != nullptr; ++at) {
    const std::string_view entry(*at);
    names.emplace_back(entry.substr(0, entry.find('=')));
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<std::string> environment_value(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

}  // namespace pangu::app
