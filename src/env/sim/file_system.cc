#include "env/sim/file_system.h"

#include <cerrno>

#include "env/sim/world.h"

namespace pangu::env::sim {

namespace {

constexpr u32 kDirectAlignment = 4096;

class SimFile final : public File {
 public:
  SimFile(SimEnv& env, Disk& disk, std::shared_ptr<Inode> inode, const OpenOptions& options)
      : env_(env), disk_(disk), inode_(std::move(inode)), options_(options) {}
  ~SimFile() override {
    CHECK_NOTE(in_flight_ == 0 || !env_.alive(), "a file was destroyed with operations in flight");
    if (options_.lock && inode_->locked_by == &env_) {
      inode_->locked_by = nullptr;
    }
  }

  void read(Operation& op, u64 offset, MutableBytes into) override {
    if (!env_.alive()) {
      return;
    }
    if (!aligned(offset, into.data(), into.size())) {
      env_.complete_soon(op, -EINVAL);
      return;
    }
    Disk::Request& request = new_request(op, DiskAction::read);
    request.offset = offset;
    request.into = into;
    disk_.start(request);
  }

  void write(Operation& op, u64 offset, Bytes from, Durability durability, i32) override {
    if (!env_.alive()) {
      return;
    }
    if (options_.read_only || !aligned(offset, from.data(), from.size())) {
      env_.complete_soon(op, options_.read_only ? -EBADF : -EINVAL);
      return;
    }
    Disk::Request& request = new_request(op, DiskAction::write);
    request.offset = offset;
    request.from = from;
    request.durability = durability;
    disk_.start(request);
  }

  void flush(Operation& op) override {
    if (env_.alive()) {
      disk_.start(new_request(op, DiskAction::flush));
    }
  }

  u64 size() const override { return inode_->store.size(); }
  u32 alignment() const override { return options_.direct ? kDirectAlignment : 1; }
  bool volatile_cache() const override { return disk_.options().volatile_cache; }

  Status resize(u64 bytes) override {
    if (!env_.alive() || disk_.failed() || inode_->gone) {
      return error_from_errno(EIO, "resizing a file");
    }
    if (options_.read_only) {
      return error_from_errno(EROFS, "resizing a file opened read-only");
    }
    if (bytes != inode_->store.size()) {
      inode_->store.resize(bytes);
    }
    return {};
  }

 private:
  bool aligned(u64 offset, const void* memory, size_t size) const {
    const u64 all = offset | reinterpret_cast<u64>(memory) | size;
    return !options_.direct || all % kDirectAlignment == 0;
  }

  Disk::Request& new_request(Operation& op, DiskAction action) {
    Disk::Request& request = disk_.new_request(env_, inode_, op, action);
    request.handle_in_flight = &in_flight_;
    ++in_flight_;
    return request;
  }

  SimEnv& env_;
  Disk& disk_;
  std::shared_ptr<Inode> inode_;
  OpenOptions options_;
  u32 in_flight_ = 0;
};

std::string parent_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

}  // namespace

std::string normalised(std::string_view path) {
  std::string out;
  for (size_t at = 0; at < path.size();) {
    const size_t slash = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, slash - at);
    if (!part.empty() && part != ".") {
      out += '/';
      out += part;
    }
    at = slash + 1;
  }
  return out;
}

Status SimFileSystem::usable(const std::string& path) {
  if (!env_.alive() || node_.disk_of(path).failed()) {
    return error_from_errno(EIO, path);
  }
  return {};
}

bool SimFileSystem::is_directory(const std::string& path) {
  Disk& disk = node_.disk_of(path);
  return path.empty() || path == disk.mount() || disk.directories().contains(path);
}

Status SimFileSystem::parent_exists(const std::string& path) {
  if (path.empty()) {
    return error_from_errno(EISDIR, "/");
  }
  return is_directory(parent_of(path)) ? ok_status() : Status(error_from_errno(ENOENT, path));
}

Result<std::unique_ptr<File>> SimFileSystem::open(std::string_view raw,
                                                  const OpenOptions& options) {
  const std::string path = normalised(raw);
  TRY_VOID(usable(path));
  TRY_VOID(parent_exists(path));
  Disk& disk = node_.disk_of(path);
  if (is_directory(path)) {
    return error_from_errno(EISDIR, path);
  }
  auto found = disk.files().find(path);
  if (found == disk.files().end()) {
    if (!options.create) {
      return error_from_errno(ENOENT, path);
    }
    found = disk.files().emplace(path, disk.new_inode()).first;
  } else if (options.create && options.exclusive) {
    return error_from_errno(EEXIST, path);
  }
  Inode& inode = *found->second;
  if (options.lock) {
    if (inode.locked_by != nullptr) {
      return Error(Code::kInUse, path);
    }
    inode.locked_by = &env_;
  }
  return std::unique_ptr<File>(std::make_unique<SimFile>(env_, disk, found->second, options));
}

Status SimFileSystem::make_directories(std::string_view raw) {
  const std::string path = normalised(raw);
  TRY_VOID(usable(path));
  for (size_t end = 0; end < path.size();) {
    end = std::min(path.find('/', end + 1), path.size());
    const std::string part = path.substr(0, end);
    Disk& disk = node_.disk_of(part);
    if (disk.files().contains(part)) {
      return error_from_errno(ENOTDIR, part);
    }
    if (!is_directory(part)) {
      disk.directories().insert(part);
    }
  }
  return {};
}

Result<std::vector<std::string>> SimFileSystem::list(std::string_view raw) {
  const std::string path = normalised(raw);
  TRY_VOID(usable(path));
  if (!is_directory(path)) {
    return error_from_errno(ENOENT, path);
  }
  Disk& disk = node_.disk_of(path);
  const std::string prefix = path + "/";
  std::set<std::string> names;
  const auto add = [&](const std::string& each) {
    if (each.starts_with(prefix) && each.find('/', prefix.size()) == each.npos) {
      names.insert(each.substr(prefix.size()));
    }
  };
  for (const auto& [file, inode] : disk.files()) {
    add(file);
  }
  for (const std::string& directory : disk.directories()) {
    add(directory);
  }
  return std::vector<std::string>(names.begin(), names.end());
}

Status SimFileSystem::remove(std::string_view raw) {
  const std::string path = normalised(raw);
  TRY_VOID(usable(path));
  Disk& disk = node_.disk_of(path);
  if (disk.files().erase(path) > 0) {
    return {};
  }
  if (!disk.directories().contains(path)) {
    return error_from_errno(ENOENT, path);
  }
  TRY(names, list(path));
  if (!names.empty()) {
    return error_from_errno(ENOTEMPTY, path);
  }
  disk.directories().erase(path);
  return {};
}

bool SimFileSystem::exists(std::string_view raw) {
  const std::string path = normalised(raw);
  return usable(path).ok() && (is_directory(path) || node_.disk_of(path).files().contains(path));
}

Result<std::string> SimFileSystem::read_file(std::string_view raw) {
  const std::string path = normalised(raw);
  TRY_VOID(usable(path));
  Disk& disk = node_.disk_of(path);
  const auto found = disk.files().find(path);
  if (found == disk.files().end()) {
    return error_from_errno(is_directory(path) ? EISDIR : ENOENT, path);
  }
  std::string contents(found->second->store.size(), '\0');
  found->second->store.read(0, std::as_writable_bytes(std::span(contents)));
  return contents;
}

Status SimFileSystem::replace_file(std::string_view raw, std::string_view contents) {
  const std::string path = normalised(raw);
  TRY_VOID(usable(path));
  TRY_VOID(parent_exists(path));
  Disk& disk = node_.disk_of(path);
  if (is_directory(path)) {
    return error_from_errno(EISDIR, path);
  }
  auto inode = disk.new_inode();
  if (!disk.has_room(inode->store.growth(0, contents.size()))) {
    return error_from_errno(ENOSPC, path);
  }
  inode->store.write(0, as_bytes_of(contents), true);
  disk.files()[path] = std::move(inode);
  return {};
}

}  // namespace pangu::env::sim
