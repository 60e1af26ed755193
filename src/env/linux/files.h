#pragma once
#include <memory>
#include <string>

#include "env/env.h"
#include "env/linux/fd.h"

namespace pangu::env {

// A file that is open, and what was found out about it.
struct OpenedFile {
  Fd fd;
  std::string path;
  u32 alignment = 1;
  bool volatile_cache = true;
  bool block_device = false;
  u64 device_size = 0;  // of a block device
};

// Everything of a File but the transfers.
class LinuxFile : public File {
 public:
  explicit LinuxFile(OpenedFile opened) : opened_(std::move(opened)) {}
  u64 size() const final;
  u32 alignment() const final { return opened_.alignment; }
  bool volatile_cache() const final { return opened_.volatile_cache; }
  bool is_block_device() const final { return opened_.block_device; }
  Status resize(u64 bytes) final;

 protected:
  int fd() const { return opened_.fd.get(); }

 private:
  OpenedFile opened_;
};

// Makes the File with an Env's own way of transfer.
class FileMaker {
 public:
  virtual std::unique_ptr<File> make_file(OpenedFile opened) = 0;

 protected:
  ~FileMaker() = default;
};

class LinuxFileSystem final : public FileSystem {
 public:
  explicit LinuxFileSystem(FileMaker& maker) : maker_(maker) {}
  Result<std::unique_ptr<File>> open(std::string_view path, const OpenOptions& options) override;
  Status make_directories(std::string_view path) override;
  Result<std::vector<std::string>> list(std::string_view directory) override;
  Status remove(std::string_view path) override;
  bool exists(std::string_view path) override;
  Result<std::string> read_file(std::string_view path) override;
  Status replace_file(std::string_view path, std::string_view contents) override;

 private:
  FileMaker& maker_;
};

}  // namespace pangu::env
