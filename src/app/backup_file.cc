#include "app/backup_file.h"

#include <fmt/format.h>

#include "base/crc32c.h"

namespace pangu::app {
namespace {

constexpr std::string_view kMagic = "PANGUBK1";
constexpr size_t kHead = 8;  // length and CRC of a record

void put_u32(std::string& out, u32 number) {
  for (int i = 0; i < 4; ++i) {
    out.push_back(static_cast<char>(number >> (8 * i)));
  }
}
u32 get_u32(std::string_view bytes) {
  u32 number = 0;
  for (size_t i = 0; i < 4; ++i) {
    number |= u32{static_cast<u8>(bytes[i])} << (8 * i);
  }
  return number;
}

}  // namespace

Result<std::unique_ptr<BackupWriter>> BackupWriter::create(env::FileSystem& files,
                                                           const std::string& path) {
  if (files.exists(path)) {
    return Error(Code::kAlreadyExists, fmt::format("{}: a backup overwrites nothing", path));
  }
  std::unique_ptr<BackupWriter> out(new BackupWriter(files, path));
  out->bytes_ = kMagic;
  return out;
}

void BackupWriter::append(const std::string& record) {
  put_u32(bytes_, static_cast<u32>(record.size()));
  put_u32(bytes_, crc32c(as_bytes_of(std::string_view(record))));
  bytes_ += record;
}

Status BackupWriter::add(const pb::ScanGroupReply& page) {
  append(page.SerializeAsString());
  ++pages_;
  return ok_status();
}

Status BackupWriter::finish(const pb::PartitionMap& map) {
  put_u32(bytes_, 0);
  put_u32(bytes_, static_cast<u32>(pages_));
  append(map.SerializeAsString());
  return files_.replace_file(path_, bytes_);
}

Result<BackupContent> read_backup(env::FileSystem& files, const std::string& path) {
  TRY(bytes, files.read_file(path));
  std::string_view left = bytes;
  if (!left.starts_with(kMagic)) {
    return Error(Code::kNotOurs, fmt::format("{} is no backup of pangu's metadata", path));
  }
  left.remove_prefix(kMagic.size());
  const auto damaged = [&](std::string_view what) {
    return Error(Code::kCorrupt, fmt::format("{} at byte {}: {}", path, bytes.size() - left.size(),
                                             what));
  };
  BackupContent out;
  bool map_comes = false;
  for (;;) {
    if (left.size() < kHead) {
      return damaged("the file ends too early");
    }
    const u32 length = get_u32(left);
    const u32 second = get_u32(left.substr(4));
    if (length == 0 && !map_comes) {
      if (second != out.pages.size()) {
        return damaged("pages are missing");
      }
      map_comes = true;
      left.remove_prefix(kHead);
      continue;
    }
    if (left.size() - kHead < length) {
      return damaged("the file ends too early");
    }
    const std::string_view record = left.substr(kHead, length);
    if (crc32c(as_bytes_of(record)) != second) {
      return damaged("a record does not have its CRC");
    }
    const bool parses =
        map_comes ? out.map.ParseFromArray(record.data(), static_cast<int>(record.size()))
                  : out.pages.emplace_back().ParseFromArray(record.data(),
                                                            static_cast<int>(record.size()));
    if (!parses) {
      return damaged("a record does not parse");
    }
    left.remove_prefix(kHead + length);
    if (map_comes) {
      return left.empty() ? Result<BackupContent>(std::move(out)) : damaged("bytes follow the end");
    }
  }
}

}  // namespace pangu::app
