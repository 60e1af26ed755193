#include "env/linux/files.h"

#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/log.h"
#include "env/linux/device.h"

namespace pangu::env {

namespace {

Error failed(std::string_view doing, std::string_view path) {
  return error_from_errno(errno, fmt::format("{} {}", doing, path));
}

std::string folder_of(std::string_view path) {
  const size_t slash = path.rfind('/');
  return std::string(slash == path.npos ? "." : slash == 0 ? "/" : path.substr(0, slash));
}

// Names in a folder are durable only after this.
Status flush_folder(const std::string& folder) {
  const Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Some file systems cannot flush a folder and say EINVAL: they have nothing to flush.
  if (!fd.valid() || (::fsync(fd.get()) != 0 && errno != EINVAL)) {
    return failed("flushing folder", folder);
  }
  return {};
}

int open_flags(const OpenOptions& options) {
  return O_CLOEXEC | (options.read_only ? O_RDONLY : O_RDWR) | (options.create ? O_CREAT : 0) |
         (options.create && options.exclusive ? O_EXCL : 0);
}

Result<Fd> open_fd(const std::string& path, const OpenOptions& options, bool& direct) {
  const int flags = open_flags(options);
  if (options.direct) {
    Fd fd(::open(path.c_str(), flags | O_DIRECT, 0644));
    if (fd.valid()) {
      direct = true;
      return fd;
    }
    if (errno != EINVAL) {
      return failed("opening", path);
    }
    // The file system has no unbuffered access (it may have created the file all the same).
    LOG_INFO("{}: this file system cannot bypass its cache; using it buffered", path);
  }
  const bool retried = options.direct;
  Fd fd(::open(path.c_str(), retried ? flags & ~O_EXCL : flags, 0644));
  if (!fd.valid()) {
    return failed("opening", path);
  }
  return fd;
}

Status lock_file(const Fd& fd, const std::string& path, const struct stat& about) {
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) {
    return {};
  }
  if (errno != EWOULDBLOCK) {
    return failed("locking", path);
  }
  const i32 holder = lock_holder(about.st_dev, about.st_ino);
  return Error(Code::kInUse,
               fmt::format("{} is locked by {}: stop it first, or use another path", path,
                           holder == 0 ? "another process" : fmt::format("process {}", holder)));
}

Result<OpenedFile> open_file(const std::string& path, const OpenOptions& options) {
  OpenedFile out;
  out.path = path;
  const bool was_there = !options.create || ::access(path.c_str(), F_OK) == 0;
  bool direct = false;
  TRY(fd, open_fd(path, options, direct));
  struct stat about{};
  if (::fstat(fd.get(), &about) != 0) {
    return failed("inspecting", path);
  }
  if (options.lock) {
    TRY_VOID(lock_file(fd, path, about));
  }
  if (S_ISBLK(about.st_mode)) {
    int read_only = 0;
    if (!options.read_only && ::ioctl(fd.get(), BLKROGET, &read_only) == 0 && read_only != 0) {
      return Error(Code::kReadOnly, fmt::format("{} is a read-only block device", path));
    }
    if (::ioctl(fd.get(), BLKGETSIZE64, &out.device_size) != 0) {
      return failed("measuring", path);
    }
    out.block_device = true;
  } else if (S_ISDIR(about.st_mode)) {
    return Error(Code::kInvalidArgument, fmt::format("{} is a directory, not a file", path));
  }
  if (!was_there) {
    TRY_VOID(flush_folder(folder_of(path)));
  }
  out.alignment = direct ? direct_alignment(fd.get()) : 1;
  out.volatile_cache = has_volatile_cache(out.block_device ? about.st_rdev : about.st_dev);
  out.fd = std::move(fd);
  return out;
}

Status write_all(const Fd& fd, std::string_view contents, const std::string& path) {
  while (!contents.empty()) {
    const ssize_t wrote = ::write(fd.get(), contents.data(), contents.size());
    if (wrote < 0 && errno != EINTR) {
      return failed("writing", path);
    }
    contents.remove_prefix(wrote > 0 ? static_cast<size_t>(wrote) : 0);
  }
  return {};
}

}  // namespace

u64 LinuxFile::size() const {
  if (opened_.block_device) {
    return opened_.device_size;
  }
  struct stat about{};
  CHECK(::fstat(fd(), &about) == 0);
  return static_cast<u64>(about.st_size);
}

Status LinuxFile::resize(u64 bytes) {
  if (opened_.block_device) {
    return Error(Code::kInvalidArgument,
                 fmt::format("{} is a block device of {} bytes: its size is fixed", opened_.path,
                             opened_.device_size));
  }
  if (::ftruncate(fd(), static_cast<off_t>(bytes)) != 0) {
    return failed("resizing", opened_.path);
  }
  return {};
}

Result<std::unique_ptr<File>> LinuxFileSystem::open(std::string_view path,
                                                    const OpenOptions& options) {
  TRY(opened, open_file(std::string(path), options));
  return maker_.make_file(std::move(opened));
}

Status LinuxFileSystem::make_directories(std::string_view path) {
  for (size_t at = 1; at <= path.size(); ++at) {
    if (at < path.size() && path[at] != '/') {
      continue;
    }
    const std::string part(path.substr(0, at));
    if (::mkdir(part.c_str(), 0755) == 0) {
      TRY_VOID(flush_folder(folder_of(part)));
    } else if (errno != EEXIST) {
      // A parent we may not write to is fine as long as it is there.
      struct stat about{};
      const int why = errno;
      if (::stat(part.c_str(), &about) != 0 || !S_ISDIR(about.st_mode)) {
        return error_from_errno(why, fmt::format("making directory {}", part));
      }
    }
  }
  struct stat about{};
  const std::string whole(path);
  if (::stat(whole.c_str(), &about) != 0 || !S_ISDIR(about.st_mode)) {
    return Error(Code::kNotDirectory, fmt::format("{} is there but no directory", path));
  }
  return {};
}

Result<std::vector<std::string>> LinuxFileSystem::list(std::string_view directory) {
  const std::string path(directory);
  DIR* folder = ::opendir(path.c_str());
  if (folder == nullptr) {
    return failed("listing", path);
  }
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(folder)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") {
      names.emplace_back(name);
    }
  }
  const int error = errno;
  ::closedir(folder);
  if (error != 0) {
    return error_from_errno(error, fmt::format("listing {}", path));
  }
  std::sort(names.begin(), names.end());
  return names;
}

Status LinuxFileSystem::remove(std::string_view path) {
  const std::string name(path);
  if (::remove(name.c_str()) != 0) {
    return failed("removing", name);
  }
  return flush_folder(folder_of(path));
}

bool LinuxFileSystem::exists(std::string_view path) {
  return ::access(std::string(path).c_str(), F_OK) == 0;
}

Result<std::string> LinuxFileSystem::read_file(std::string_view path) {
  const std::string name(path);
  const Fd fd(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    return failed("opening", name);
  }
  std::string out;
  char piece[16 * kKiB];
  for (;;) {
    const ssize_t got = ::read(fd.get(), piece, sizeof piece);
    if (got == 0) {
      return out;
    }
    if (got < 0 && errno != EINTR) {
      return failed("reading", name);
    }
    out.append(piece, got > 0 ? static_cast<size_t>(got) : 0);
  }
}

Status LinuxFileSystem::replace_file(std::string_view path, std::string_view contents) {
  const std::string name(path);
  // Always the same name: what a crash left behind is overwritten, not collected.
  const std::string temporary = name + ".tmp";
  {
    const Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!fd.valid()) {
      return failed("creating", temporary);
    }
    TRY_VOID(write_all(fd, contents, temporary));
    if (::fsync(fd.get()) != 0) {
      return failed("flushing", temporary);
    }
  }
  if (::rename(temporary.c_str(), name.c_str()) != 0) {
    return failed("renaming to", name);
  }
  return flush_folder(folder_of(path));
}

}  // namespace pangu::env
