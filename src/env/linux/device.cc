#include "env/linux/device.h"

#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "env/linux/fd.h"

namespace pangu::env {

namespace {

// The start of a small file, or nothing.
std::string first_bytes(const std::string& path, size_t limit) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text(limit, '\0');
  const ssize_t got = fd.valid() ? ::read(fd.get(), text.data(), text.size()) : 0;
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return text;
}

}  // namespace

bool has_volatile_cache(dev_t device) {
  const std::string folder = fmt::format("/sys/dev/block/{}:{}", major(device), minor(device));
  std::string mode = first_bytes(folder + "/queue/write_cache", 64);
  if (mode.empty()) {
    mode = first_bytes(folder + "/../queue/write_cache", 64);  // a partition: ask its disk
  }
  return !mode.starts_with("write through");
}

u32 direct_alignment(int fd) {
  struct statx found{};
  u32 alignment = 0;
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &found) == 0 &&
      (found.stx_mask & STATX_DIOALIGN) != 0) {
    alignment = std::max(found.stx_dio_mem_align, found.stx_dio_offset_align);
  }
  int sector = 0;
  if (alignment == 0 && ::ioctl(fd, BLKSSZGET, &sector) == 0 && sector > 0) {
    alignment = static_cast<u32>(sector);
  }
  return alignment == 0 || !std::has_single_bit(alignment) ? 4096 : alignment;
}

i32 lock_holder(dev_t device, ino_t inode) {
  // "1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF"
  const std::string locks = first_bytes("/proc/locks", 64 * kKiB);
  const std::string key = fmt::format(" {:02x}:{:02x}:{} ", major(device), minor(device), inode);
  const size_t at = locks.find(key);
  if (at == std::string::npos) {
    return 0;
  }
  const size_t before = locks.rfind(' ', at - 1);
  return before == std::string::npos ? 0 : std::atoi(locks.c_str() + before + 1);
}

}  // namespace pangu::env
