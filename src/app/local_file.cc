#include "app/local_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "env/env.h"
#include "runtime/await.h"

namespace pangu::app {

namespace {
Error failed(std::string_view path) { return env::error_from_errno(errno, path); }

// Bytes read, fewer than asked for only at the end (or with `some`); or -errno.
i64 read_fully(int fd, MutableBytes into, bool some) {
  size_t done = 0;
  while (done < into.size()) {
    const ssize_t got = ::read(fd, into.data() + done, into.size() - done);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return -errno;
    }
    done += static_cast<size_t>(got);
    if (got == 0 || some) {
      break;
    }
  }
  return static_cast<i64>(done);
}

i64 write_fully(int fd, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(fd, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) {
      continue;
    }
    if (wrote < 0) {
      return -errno;
    }
    bytes = bytes.subspan(static_cast<size_t>(wrote));
  }
  return 0;
}
}  // namespace

LocalSource::LocalSource(int fd, std::string path, std::optional<u64> size)
    : fd_(fd), path_(std::move(path)), size_(size) {}
LocalSource::LocalSource(LocalSource&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)), size_(other.size_) {}
LocalSource::~LocalSource() {
  if (fd_ > STDERR_FILENO) {
    ::close(fd_);
  }
}

Result<LocalSource> LocalSource::open(const std::string& path) {
  const bool standard = path == "-";
  const int fd = standard ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return failed(path);
  }
  LocalSource source(fd, standard ? "standard input" : path, std::nullopt);
  struct stat about {};
  if (::fstat(fd, &about) != 0) {
    return failed(source.path_);
  }
  if (S_ISDIR(about.st_mode)) {
    return Error(Code::kIsDirectory, source.path_);
  }
  if (S_ISREG(about.st_mode)) {
    source.size_ = static_cast<u64>(about.st_size);
  }
  return source;
}

Task<Result<size_t>> LocalSource::read(MutableBytes into, bool some) {
  const int fd = fd_;
  auto reading = run_in_background([fd, into, some] { return read_fully(fd, into, some); });
  const i64 got = co_await reading;
  if (got < 0) {
    co_return env::error_from_errno(static_cast<int>(-got), path_);
  }
  co_return static_cast<size_t>(got);
}

namespace {
std::set<std::string>& unfinished_files() {
  static std::set<std::string> files;
  return files;
}
}  // namespace

void discard_unfinished_files() {
  for (const std::string& path : unfinished_files()) {
    ::unlink(path.c_str());
  }
}

LocalSink::LocalSink(int fd, std::string path, std::string temporary)
    : fd_(fd), path_(std::move(path)), temporary_(std::move(temporary)) {}
LocalSink::LocalSink(LocalSink&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, "")) {}
LocalSink::~LocalSink() {
  if (fd_ > STDERR_FILENO) {
    ::close(fd_);
  }
  if (!temporary_.empty()) {
    ::unlink(temporary_.c_str());
    unfinished_files().erase(temporary_);
  }
}

Result<LocalSink> LocalSink::create(const std::string& path) {
  if (path == "-") {
    return LocalSink(STDOUT_FILENO, "standard output", "");
  }
  struct stat about {};
  if (::stat(path.c_str(), &about) == 0 && !S_ISREG(about.st_mode)) {
    if (S_ISDIR(about.st_mode)) {
      return Error(Code::kIsDirectory, path);
    }
    const int device = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);  // a pipe, /dev/null
    return device < 0 ? Result<LocalSink>(failed(path)) : LocalSink(device, path, "");
  }
  std::string temporary = fmt::format("{}.part-{}", path, ::getpid());
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) {
    return failed(path);
  }
  unfinished_files().insert(temporary);
  return LocalSink(fd, path, std::move(temporary));
}

Task<Status> LocalSink::write(Bytes bytes) {
  const int fd = fd_;
  auto writing = run_in_background([fd, bytes] { return write_fully(fd, bytes); });
  const i64 result = co_await writing;
  if (result < 0) {
    co_return env::error_from_errno(static_cast<int>(-result), path_);
  }
  co_return ok_status();
}

Task<Status> LocalSink::commit() {
  if (!temporary_.empty()) {
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
      co_return failed(path_);
    }
    unfinished_files().erase(temporary_);
    temporary_.clear();
  }
  co_return ok_status();
}

namespace {
constexpr size_t kDepthMax = 100;

Status walk_into(const std::string& root, const std::string& relative, size_t depth,
                 std::vector<LocalEntry>& out, std::vector<std::string>& skipped) {
  LocalEntry entry;
  entry.path = relative.empty() ? root : fmt::format("{}/{}", root, relative);
  entry.relative = relative;
  struct stat about {};
  // A link named by the person is followed; links inside a tree could lead in circles.
  const int looked = relative.empty() ? ::stat(entry.path.c_str(), &about)
                                      : ::lstat(entry.path.c_str(), &about);
  if (looked != 0) {
    return failed(entry.path);
  }
  entry.directory = S_ISDIR(about.st_mode);
  entry.size = S_ISREG(about.st_mode) ? static_cast<u64>(about.st_size) : 0;
  if ((!entry.directory && !S_ISREG(about.st_mode)) || depth > kDepthMax) {
    skipped.push_back(entry.path);
    return {};
  }
  out.push_back(entry);
  if (!entry.directory) {
    return {};
  }
  DIR* directory = ::opendir(entry.path.c_str());
  if (directory == nullptr) {
    return failed(entry.path);
  }
  std::vector<std::string> names;
  while (const dirent* one = ::readdir(directory)) {
    if (const std::string name = one->d_name; name != "." && name != "..") {
      names.push_back(name);
    }
  }
  ::closedir(directory);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    const std::string below = relative.empty() ? name : fmt::format("{}/{}", relative, name);
    TRY_VOID(walk_into(root, below, depth + 1, out, skipped));
  }
  return {};
}
}  // namespace

Result<std::vector<LocalEntry>> walk(const std::string& root, std::vector<std::string>& skipped) {
  std::vector<LocalEntry> out;
  TRY_VOID(walk_into(root, "", 0, out, skipped));
  return out;
}

bool is_local_directory(const std::string& path) {
  struct stat about {};
  return ::stat(path.c_str(), &about) == 0 && S_ISDIR(about.st_mode);
}

Status make_local_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0777) != 0 && !(errno == EEXIST && is_local_directory(path))) {
    return failed(path);
  }
  return {};
}

std::string absolute_path(const std::string& path) {
  char* resolved = ::realpath(path.c_str(), nullptr);
  std::string out = resolved == nullptr ? path : resolved;
  std::free(resolved);
  return out;
}

std::string base_name(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') {
    path.remove_suffix(1);
  }
  const size_t slash = path.rfind('/');
  return std::string(slash == path.npos ? path : path.substr(slash + 1));
}

Status write_small_file(const std::string& path, std::string_view text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) {
    return failed(path);
  }
  const i64 written = write_fully(fd, as_bytes_of(text));
  ::close(fd);
  return written < 0 ? Status(env::error_from_errno(static_cast<int>(-written), path)) : Status();
}

Result<std::string> read_small_file(const std::string& path) {
  constexpr size_t kMax = 16 * kMiB;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return failed(path);
  }
  std::string out;
  std::byte piece[16384];
  i64 got = 0;
  while ((got = read_fully(fd, piece, true)) > 0 && out.size() < kMax) {
    out += as_text(Bytes(piece, static_cast<size_t>(got)));
  }
  ::close(fd);
  return got < 0 ? Result<std::string>(env::error_from_errno(static_cast<int>(-got), path)) : out;
}

}  // namespace pangu::app
