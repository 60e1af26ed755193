#pragma once
#include <string>
#include <vector>

#include "base/bytes.h"
#include "raft/core/message.h"
#include "raft/driver/ids.h"
#include "wire/frame.h"

// The bytes that hosts send each other (docs/formats/raft-wire.md): bodies of the methods
// raft_messages, raft_snapshot_begin and raft_snapshot_piece. Little-endian, without padding. The
// frame around a body carries its CRC.
//
// Whatever the bytes are, a decoder returns kCorrupt or something well-formed: counts fit what is
// there, terms and indexes are below 2^63, configurations keep their invariants.
namespace pangu::raft {

// Of one command. A message is at most one command and a few hundred bytes, or kAppendBytes, and
// has to fit into one frame's body.
inline constexpr u32 kCommandBytesMax = 768 * kKiB;
inline constexpr u32 kBatchBytesMax = wire::kBodyBytesMax;
// Of one piece of a snapshot that travels in one answer.
inline constexpr u32 kSnapshotReadBytesMax = 512 * kKiB;
inline constexpr u32 kSnapshotPiecesMax = 4096;
inline constexpr u32 kSnapshotNameBytesMax = 128;

// What every request begins with. An address may be given to another process, and a process to
// another cluster: whoever is not meant refuses.
struct Envelope {
  Uuid cluster;
  NodeId from;
  NodeId to;
};

struct GroupMessage {
  GroupId group;
  Message message;
};

// Many messages of many groups from one process to another. from and to of every message are the
// envelope's.
class BatchWriter {
 public:
  // `hold`: the answer is wanted late; see Transport.
  BatchWriter(const Envelope& envelope, bool hold);
  // False, and nothing was added, if it would make the batch larger than kBatchBytesMax.
  bool add(GroupId group, const Message& message);
  size_t count() const { return count_; }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
  size_t count_ = 0;
};

struct Batch {
  Envelope envelope;
  bool hold = false;
  std::vector<GroupMessage> messages;
};
Result<Batch> decode_batch(Bytes bytes);

// The parts of a snapshot, as the state machine that made it names them.
struct SnapshotPiece {
  std::string name;
  u64 size = 0;
  u32 crc32c = 0;
  bool operator==(const SnapshotPiece&) const = default;
};
// A consistent state: everything up to and including `index` is in it.
struct SnapshotImage {
  Index index = 0;
  std::vector<SnapshotPiece> pieces;
  bool operator==(const SnapshotImage&) const = default;
};

// kTooLarge: more than kSnapshotPiecesMax pieces, a longer name than kSnapshotNameBytesMax.
Status check_image(const SnapshotImage& image);
std::string encode_image(const SnapshotImage& image);  // REQUIRES: check_image() is ok
Result<SnapshotImage> decode_image(Bytes bytes);

// Asks for the manifest of the snapshot that was offered; the answer is an image.
struct SnapshotBegin {
  Envelope envelope;
  GroupId group;
  Index index = 0;
};
std::string encode(const SnapshotBegin& request);
Result<SnapshotBegin> decode_snapshot_begin(Bytes bytes);

// Asks for bytes of one piece; the answer is these bytes.
struct SnapshotRead {
  Envelope envelope;
  GroupId group;
  Index index = 0;
  u32 piece = 0;
  u32 length = 0;
  u64 offset = 0;
};
std::string encode(const SnapshotRead& request);
Result<SnapshotRead> decode_snapshot_read(Bytes bytes);

// A snapshot's place and members, as it is kept and sent.
std::string encode_meta(const SnapshotMeta& meta);
Result<SnapshotMeta> decode_meta(Bytes bytes);

}  // namespace pangu::raft
