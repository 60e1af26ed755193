#include "master/state/kv_snapshot.h"

#include <fmt/core.h>

#include "base/bytes.h"
#include "base/crc32c.h"

namespace pangu::master {
namespace {

constexpr size_t kScanEntries = 1000;
constexpr size_t kHeaderBytes = 2 * sizeof(u32);

void append_entry(std::string& out, const KvEntry& entry) {
  char header[kHeaderBytes];
  store_le(header, static_cast<u32>(entry.key.size()));
  store_le(header + sizeof(u32), static_cast<u32>(entry.value.size()));
  out.append(header, sizeof(header));
  out += entry.key;
  out += entry.value;
}

class PieceWriter {
 public:
  PieceWriter(env::FileSystem& files, const std::string& folder) : files_(files), folder_(folder) {}

  void add(const KvEntry& entry) { append_entry(bytes_, entry); }
  u64 size() const { return bytes_.size(); }

  Status finish_piece() {
    SnapshotPiece piece{.name = fmt::format("{:08}.piece", pieces_.size() + 1),
                        .bytes = bytes_.size(),
                        .crc32c = crc32c(as_bytes_of(std::string_view(bytes_)))};
    TRY_VOID(files_.replace_file(folder_ + "/" + piece.name, bytes_));
    pieces_.push_back(std::move(piece));
    bytes_.clear();
    return ok_status();
  }
  std::vector<SnapshotPiece> take_pieces() { return std::move(pieces_); }

 private:
  env::FileSystem& files_;
  const std::string& folder_;
  std::string bytes_;
  std::vector<SnapshotPiece> pieces_;
};

}  // namespace

Result<std::vector<SnapshotPiece>> write_snapshot(env::FileSystem& files, const KvReader& view,
                                                  const std::string& folder, u64 piece_bytes) {
  TRY_VOID(files.make_directories(folder));
  PieceWriter writer(files, folder);
  std::string from;
  for (bool more = true; more;) {
    TRY(page, view.scan(from, kKeysEnd, kScanEntries));
    for (const KvEntry& entry : page.entries) {
      writer.add(entry);
      if (writer.size() >= piece_bytes) {
        TRY_VOID(writer.finish_piece());
      }
    }
    more = page.more;
    if (more) {
      from = page.entries.back().key + '\0';
    }
  }
  if (writer.size() > 0) {
    TRY_VOID(writer.finish_piece());
  }
  return writer.take_pieces();
}

Status load_snapshot_piece(const SnapshotPiece& piece, std::string_view bytes,
                           KvReplacement& into) {
  if (bytes.size() != piece.bytes || crc32c(as_bytes_of(bytes)) != piece.crc32c) {
    return Error(Code::kCorrupt, fmt::format("snapshot piece {}: {} bytes that are not the {} bytes "
                                             "that were announced",
                                             piece.name, bytes.size(), piece.bytes));
  }
  const Error torn(Code::kCorrupt, fmt::format("snapshot piece {}: an entry does not end inside it",
                                               piece.name));
  KvBatch batch;
  std::string_view rest = bytes;
  while (!rest.empty()) {
    if (rest.size() < kHeaderBytes) {
      return torn;
    }
    const u64 key_size = load_le<u32>(rest.data());
    const u64 value_size = load_le<u32>(rest.data() + sizeof(u32));
    rest.remove_prefix(kHeaderBytes);
    if (rest.size() < key_size + value_size) {
      return torn;
    }
    batch.emplace(rest.substr(0, key_size), std::string(rest.substr(key_size, value_size)));
    rest.remove_prefix(key_size + value_size);
    if (batch.size() == kScanEntries) {
      TRY_VOID(into.add(batch));
      batch.clear();
    }
  }
  return into.add(batch);
}

}  // namespace pangu::master
