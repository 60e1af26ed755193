#pragma once
#include <memory>
#include <string>

#include "env/env.h"
#include "wire/control.pb.h"

// A copy of all metadata in one file (docs/formats/backup.md): pages of the groups' states.
namespace pangu::app {

class BackupWriter {
 public:
  // AlreadyExists: nothing is overwritten.
  static Result<std::unique_ptr<BackupWriter>> create(env::FileSystem& files,
                                                      const std::string& path);
  // A page of a group, in the order of its keys.
  Status add(const pb::ScanGroupReply& page);
  // The file is whole and durable when it returns ok; without it, it is none.
  Status finish(const pb::PartitionMap& map);

 private:
  BackupWriter(env::FileSystem& files, std::string path)
      : files_(files), path_(std::move(path)) {}
  void append(const std::string& record);

  env::FileSystem& files_;
  std::string path_;
  std::string bytes_;
  u64 pages_ = 0;
};

struct BackupContent {
  pb::PartitionMap map;
  std::vector<pb::ScanGroupReply> pages;  // of each group together, in the order of the keys
};
// NotOurs: no backup; Corrupt: damaged or cut short, where.
Result<BackupContent> read_backup(env::FileSystem& files, const std::string& path);

}  // namespace pangu::app
