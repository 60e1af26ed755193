#include "pangu_process.h"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "app/local_file.h"
#include "app/process.h"
#include "base/prng.h"

namespace pangu::system_test {

namespace {
i64 now_ms() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000 + time.tv_nsec / 1'000'000;
}

// The child's side of the fork: nothing but system calls.
[[noreturn]] void become(const Launch& launch, char** argv, const int (&in)[2], const int (&out)[2],
                         const int (&err)[2]) {
  ::dup2(in[0], 0);
  ::dup2(out[1], 1);
  ::dup2(err[1], 2);
  for (const auto& [name, value] : launch.environment) {
    ::setenv(name.c_str(), value.c_str(), 1);
  }
  if (!launch.user.empty()) {
    const passwd* user = ::getpwnam(launch.user.c_str());
    if (user == nullptr || ::setgroups(0, nullptr) != 0 || ::setgid(user->pw_gid) != 0 ||
        ::setuid(user->pw_uid) != 0) {
      ::_exit(126);
    }
  }
  ::execv(argv[0], argv);
  ::_exit(127);
}

// Appends what is there to `into`; closes the descriptor at its end.
void take(int& fd, std::string& into) {
  char piece[65536];
  const ssize_t got = ::read(fd, piece, sizeof piece);
  if (got > 0) {
    into.append(piece, static_cast<size_t>(got));
  } else if (got == 0 || errno != EINTR) {
    ::close(fd);
    fd = -1;
  }
}
}  // namespace

Process::Process(const Launch& launch) {
  ::signal(SIGPIPE, SIG_IGN);
  int in[2], out[2], err[2];
  EXPECT_EQ(::pipe2(in, O_CLOEXEC), 0);
  EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
  EXPECT_EQ(::pipe2(err, O_CLOEXEC), 0);
  std::vector<std::string> words = launch.words;
  words.insert(words.begin(), launch.program.empty() ? binary_under_test() : launch.program);
  std::vector<char*> argv;
  for (std::string& word : words) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    become(launch, argv.data(), in, out, err);
  }
  ::close(in[0]);
  ::close(out[1]);
  ::close(err[1]);
  in_ = in[1];
  out_fd_ = out[0];
  err_fd_ = err[0];
  ::fcntl(in_, F_SETFL, O_NONBLOCK);
}

Process::~Process() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    finish();
  }
}

bool Process::write(const std::string& bytes) {
  const i64 deadline = now_ms() + 30'000;
  size_t done = 0;
  while (done < bytes.size() && now_ms() < deadline) {
    const ssize_t wrote = ::write(in_, bytes.data() + done, bytes.size() - done);
    if (wrote > 0) {
      done += static_cast<size_t>(wrote);
    } else if (errno != EAGAIN && errno != EINTR) {
      return false;
    } else {
      pump(20);  // it may be waiting for us to read
    }
  }
  return done == bytes.size();
}

void Process::close_input() {
  if (in_ >= 0) {
    ::close(in_);
    in_ = -1;
  }
}

void Process::kill(int signal) { ::kill(pid_, signal); }

// Takes output for up to that long; false when there is none left to come.
bool Process::pump(int until_ms) {
  pollfd fds[2] = {{out_fd_, POLLIN, 0}, {err_fd_, POLLIN, 0}};
  if (out_fd_ < 0 && err_fd_ < 0) {
    return false;
  }
  ::poll(fds, 2, until_ms);
  if (out_fd_ >= 0 && fds[0].revents != 0) {
    take(out_fd_, out_);
  }
  if (err_fd_ >= 0 && fds[1].revents != 0) {
    take(err_fd_, err_);
  }
  return true;
}

bool Process::wait_for_output(const std::string& text, int seconds) {
  const i64 deadline = now_ms() + seconds * 1000;
  while (out_.find(text) == out_.npos) {
    if (now_ms() > deadline || !pump(100)) {
      return false;
    }
  }
  return true;
}

Finished Process::finish(int seconds) {
  close_input();
  const i64 deadline = now_ms() + seconds * 1000;
  while (pump(100)) {
    if (now_ms() > deadline) {
      ADD_FAILURE() << "still ran after " << seconds << " s; its errors so far:\n" << err_;
      ::kill(pid_, SIGKILL);
      break;
    }
  }
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  for (int* fd : {&out_fd_, &err_fd_}) {
    if (*fd >= 0) {
      ::close(*fd);
      *fd = -1;
    }
  }
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return {code, std::move(out_), std::move(err_)};
}

Finished run(const Launch& launch, const std::string& input, int seconds) {
  Process process(launch);
  process.write(input);
  return process.finish(seconds);
}

Finished run_until_ok(const Launch& launch, const std::string& input, int seconds) {
  const i64 deadline = now_ms() + seconds * 1000;
  Finished last = run(launch, input);
  while (last.exit_code != 0 && now_ms() < deadline) {
    last = run(launch, input);
  }
  return last;
}

std::string binary_under_test() {
  const char* chosen = std::getenv("PANGU_BINARY");
  return chosen == nullptr ? PANGU_BINARY : chosen;
}

TemporaryDirectory::TemporaryDirectory() {
  auto made = app::make_temporary_directory("pangu-test");
  EXPECT_TRUE(made.ok());
  path_ = made.ok() ? *made : "";
}
TemporaryDirectory::~TemporaryDirectory() {
  const Status removed = app::remove_tree(path_);
  EXPECT_TRUE(removed.ok());
}

void write_file(const std::string& path, const std::string& bytes) {
  const Status written = app::write_small_file(path, bytes);
  ASSERT_TRUE(written.ok()) << written.error().message();
}

std::string read_file(const std::string& path) {
  std::string out;
  FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) {
    ADD_FAILURE() << path << " cannot be read";
    return out;
  }
  char piece[65536];
  for (size_t got = 0; (got = std::fread(piece, 1, sizeof piece, file)) > 0;) {
    out.append(piece, got);
  }
  std::fclose(file);
  return out;
}

std::string noise(u64 seed, size_t size) {
  Prng prng(seed);
  std::string out;
  out.reserve(size + 8);
  while (out.size() < size) {
    const u64 word = prng.next();
    out.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  out.resize(size);
  return out;
}

testing::AssertionResult same(const std::string& got, const std::string& wanted) {
  if (got == wanted) {
    return testing::AssertionSuccess();
  }
  const auto [a, b] = std::mismatch(got.begin(), got.end(), wanted.begin(), wanted.end());
  return testing::AssertionFailure() << got.size() << " bytes came, " << wanted.size()
                                     << " are wanted; the first difference is at "
                                     << (a - got.begin());
}

std::string masters_in(const std::string& output) {
  constexpr std::string_view kName = "PANGU_CLUSTER=";
  const size_t at = output.find(kName);
  if (at == output.npos) {
    return "";
  }
  const size_t begin = at + kName.size();
  return output.substr(begin, output.find('\n', begin) - begin);
}

}  // namespace pangu::system_test
