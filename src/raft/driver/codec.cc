#include "raft/driver/codec.h"

#include <fmt/format.h>

namespace pangu::raft {
namespace {

constexpr u32 kMagic = 0x54464152;  // "RAFT" little-endian
constexpr u8 kVersion = 1;
constexpr u8 kHold = 1;
constexpr u64 kNumberMax = u64{1} << 63;

// In a batch. Never renumber.
enum class Kind : u8 {
  vote_request = 1,
  vote_reply = 2,
  append_request = 3,
  append_reply = 4,
  heartbeat = 5,
  heartbeat_reply = 6,
  snapshot_offer = 7,
  timeout_now = 8,
  read_request = 9,
  read_reply = 10,
};

// ---- writing ----

template <class T>
void put(std::string& out, T value) {
  static_assert(std::is_integral_v<T>);
  char bytes[sizeof(T)];
  store_le(bytes, value);
  out.append(bytes, sizeof(T));
}

void put(std::string& out, LogId id) {
  put(out, id.term.value());
  put(out, id.index);
}

void put(std::string& out, const Envelope& envelope) {
  put(out, envelope.cluster.high);
  put(out, envelope.cluster.low);
  put(out, envelope.from.value());
  put(out, envelope.to.value());
}

void put_head(std::string& out, const Envelope& envelope, u8 flags) {
  put(out, kMagic);
  put(out, kVersion);
  put(out, flags);
  put(out, u16{0});
  put(out, envelope);
}

void put(std::string& out, const SnapshotMeta& meta) {
  put(out, meta.id);
  const Payload configuration = encode(meta.configuration);
  put(out, static_cast<u32>(configuration.size()));
  out += configuration.text();
}

struct PutBody {
  std::string& out;

  Kind operator()(const VoteRequest& m) const {
    put(out, static_cast<u8>((m.pre_vote ? 1 : 0) | (m.transfer ? 2 : 0)));
    put(out, m.last);
    return Kind::vote_request;
  }
  Kind operator()(const VoteReply& m) const {
    put(out, static_cast<u8>((m.pre_vote ? 1 : 0) | (m.granted ? 2 : 0)));
    return Kind::vote_reply;
  }
  Kind operator()(const AppendRequest& m) const {
    put(out, m.previous);
    put(out, m.commit);
    put(out, static_cast<u32>(m.entries.size()));
    for (const Entry& entry : m.entries) {
      put(out, entry.term.value());
      put(out, static_cast<u8>(entry.kind));
      put(out, static_cast<u32>(entry.payload.size()));
      out += entry.payload.text();
    }
    return Kind::append_request;
  }
  Kind operator()(const AppendReply& m) const {
    put(out, static_cast<u8>(m.accepted ? 1 : 0));
    put(out, m.index);
    put(out, m.hint);
    return Kind::append_reply;
  }
  Kind operator()(const Heartbeat& m) const {
    put(out, m.commit);
    put(out, m.round);
    put(out, static_cast<u8>(m.quiesce ? 1 : 0));
    return Kind::heartbeat;
  }
  Kind operator()(const HeartbeatReply& m) const {
    put(out, m.round);
    put(out, static_cast<u8>(m.stay_awake ? 1 : 0));
    return Kind::heartbeat_reply;
  }
  Kind operator()(const SnapshotOffer& m) const {
    put(out, m.meta);
    return Kind::snapshot_offer;
  }
  Kind operator()(const TimeoutNow&) const { return Kind::timeout_now; }
  Kind operator()(const ReadRequest& m) const {
    put(out, m.id);
    return Kind::read_request;
  }
  Kind operator()(const ReadReply& m) const {
    put(out, m.id);
    put(out, m.index);
    return Kind::read_reply;
  }
};

// What it takes in a batch, at least.
size_t size_of(const Message& message) {
  size_t size = 160;
  if (const auto* append = message.as<AppendRequest>()) {
    for (const Entry& entry : append->entries) {
      size += entry.payload.size() + 13;
    }
  } else if (message.as<SnapshotOffer>() != nullptr) {
    size += 8 + kMembersMax * 4 * 9;
  }
  return size;
}

// ---- reading ----

// Reads past the end give zeroes and spoil the whole: one look at the end is enough, but for
// counts, which are checked where they are used.
class Reader {
 public:
  explicit Reader(Bytes bytes) : bytes_(bytes) {}
  bool good() const { return good_; }
  bool at_end() const { return good_ && bytes_.empty(); }
  size_t left() const { return bytes_.size(); }
  void spoil() { good_ = false; }

  template <class T>
  T get() {
    const Bytes raw = take(sizeof(T));
    return raw.empty() ? T{} : load_le<T>(raw.data());
  }
  // Terms and indexes: arithmetic on them must not wrap around.
  u64 number() {
    const u64 out = get<u64>();
    if (out >= kNumberMax) {
      spoil();
      return 0;
    }
    return out;
  }
  LogId log_id() {
    const u64 term = number();
    return {Term{term}, number()};
  }
  u8 flags(u8 known) {
    const u8 out = get<u8>();
    if ((out & ~known) != 0) {
      spoil();
    }
    return out;
  }
  Bytes take(size_t size) {
    if (!good_ || size > bytes_.size()) {
      good_ = false;
      return {};
    }
    const Bytes out = bytes_.first(size);
    bytes_ = bytes_.subspan(size);
    return out;
  }

 private:
  Bytes bytes_;
  bool good_ = true;
};

Error damaged(std::string_view what) {
  return Error(Code::kCorrupt, fmt::format("{} of another Raft host does not parse", what));
}

Envelope get_head(Reader& in, u8 known_flags, u8& flags) {
  const bool ours = in.get<u32>() == kMagic && in.get<u8>() == kVersion;
  flags = in.flags(known_flags);
  if (!ours || in.get<u16>() != 0) {
    in.spoil();
  }
  Envelope out;
  out.cluster.high = in.get<u64>();
  out.cluster.low = in.get<u64>();
  out.from = NodeId{in.get<u64>()};
  out.to = NodeId{in.get<u64>()};
  return out;
}

SnapshotMeta get_meta(Reader& in) {
  SnapshotMeta meta;
  meta.id = in.log_id();
  const u32 size = in.get<u32>();
  const Bytes bytes = in.take(size);
  if (in.good()) {
    auto configuration = decode_configuration(bytes);
    if (configuration.ok()) {
      meta.configuration = std::move(*configuration);
    } else {
      in.spoil();
    }
  }
  return meta;
}

Entry get_entry(Reader& in, Index index) {
  Entry entry;
  entry.index = index;
  entry.term = Term{in.number()};
  const u8 kind = in.get<u8>();
  const u32 size = in.get<u32>();
  const Bytes payload = in.take(size);
  if (kind < static_cast<u8>(EntryKind::command) ||
      kind > static_cast<u8>(EntryKind::configuration)) {
    in.spoil();
  }
  if (in.good()) {
    entry.kind = static_cast<EntryKind>(kind);
    entry.payload = Payload::copy_of(payload);
  }
  return entry;
}

AppendRequest get_append(Reader& in) {
  AppendRequest out;
  out.previous = in.log_id();
  out.commit = in.number();
  const u32 count = in.get<u32>();
  for (u32 i = 0; i < count && in.good(); ++i) {
    out.entries.push_back(get_entry(in, out.previous.index + 1 + i));
  }
  return out;
}

void get_body(Reader& in, u8 kind, Message& message) {
  switch (static_cast<Kind>(kind)) {
    case Kind::vote_request: {
      const u8 flags = in.flags(3);
      message.body = VoteRequest{(flags & 1) != 0, (flags & 2) != 0, in.log_id()};
      return;
    }
    case Kind::vote_reply: {
      const u8 flags = in.flags(3);
      message.body = VoteReply{(flags & 1) != 0, (flags & 2) != 0};
      return;
    }
    case Kind::append_request:
      message.body = get_append(in);
      return;
    case Kind::append_reply: {
      AppendReply reply;
      reply.accepted = in.flags(1) != 0;
      reply.index = in.number();
      reply.hint = in.log_id();
      message.body = reply;
      return;
    }
    case Kind::heartbeat: {
      Heartbeat heartbeat;
      heartbeat.commit = in.number();
      heartbeat.round = in.number();
      heartbeat.quiesce = in.flags(1) != 0;
      message.body = heartbeat;
      return;
    }
    case Kind::heartbeat_reply: {
      HeartbeatReply reply;
      reply.round = in.number();
      reply.stay_awake = in.flags(1) != 0;
      message.body = reply;
      return;
    }
    case Kind::snapshot_offer:
      message.body = SnapshotOffer{get_meta(in)};
      return;
    case Kind::timeout_now:
      message.body = TimeoutNow{};
      return;
    case Kind::read_request:
      message.body = ReadRequest{in.get<u64>()};
      return;
    case Kind::read_reply: {
      ReadReply reply;
      reply.id = in.get<u64>();
      reply.index = in.number();
      message.body = reply;
      return;
    }
  }
  in.spoil();
}

}  // namespace

// ---- batches ----

BatchWriter::BatchWriter(const Envelope& envelope, bool hold) {
  put_head(bytes_, envelope, hold ? kHold : 0);
}

// A message: u32 bytes after this field, u64 group, u64 term, u8 kind, body.
bool BatchWriter::add(GroupId group, const Message& message) {
  if (bytes_.size() + size_of(message) > kBatchBytesMax) {
    return false;
  }
  const size_t begin = bytes_.size();
  put(bytes_, u32{0});
  put(bytes_, group.value());
  put(bytes_, message.term.value());
  const size_t kind_at = bytes_.size();
  put(bytes_, u8{0});
  bytes_[kind_at] = static_cast<char>(std::visit(PutBody{bytes_}, message.body));
  store_le(bytes_.data() + begin, static_cast<u32>(bytes_.size() - begin - sizeof(u32)));
  CHECK(bytes_.size() <= kBatchBytesMax);
  ++count_;
  return true;
}

Result<Batch> decode_batch(Bytes bytes) {
  Reader in(bytes);
  Batch out;
  u8 flags = 0;
  out.envelope = get_head(in, kHold, flags);
  out.hold = (flags & kHold) != 0;
  while (in.good() && in.left() > 0) {
    const u32 size = in.get<u32>();
    Reader one(in.take(size));
    GroupMessage message;
    message.group = GroupId{one.get<u64>()};
    message.message.from = out.envelope.from;
    message.message.to = out.envelope.to;
    message.message.term = Term{one.number()};
    get_body(one, one.get<u8>(), message.message);
    if (!in.good() || !one.at_end()) {
      return damaged("a message");
    }
    out.messages.push_back(std::move(message));
  }
  if (!in.good()) {
    return damaged("a batch of messages");
  }
  return out;
}

// ---- snapshots ----

Status check_image(const SnapshotImage& image) {
  if (image.pieces.size() > kSnapshotPiecesMax) {
    return Error(Code::kTooLarge, fmt::format("a snapshot of {} pieces; at most {} are possible",
                                              image.pieces.size(), kSnapshotPiecesMax));
  }
  for (const SnapshotPiece& piece : image.pieces) {
    if (piece.name.size() > kSnapshotNameBytesMax || piece.size >= kNumberMax) {
      return Error(Code::kTooLarge, fmt::format("piece '{}' of a snapshot: its name or size is "
                                                "too large",
                                                piece.name.substr(0, kSnapshotNameBytesMax)));
    }
  }
  return ok_status();
}

// u32 magic, u8 version, u8 0, u16 0, u64 index, u32 count, count times {u64 size, u32 crc, u8
// length of the name, name}.
std::string encode_image(const SnapshotImage& image) {
  CHECK(check_image(image).ok());
  std::string out;
  put(out, kMagic);
  put(out, kVersion);
  put(out, u8{0});
  put(out, u16{0});
  put(out, image.index);
  put(out, static_cast<u32>(image.pieces.size()));
  for (const SnapshotPiece& piece : image.pieces) {
    put(out, piece.size);
    put(out, piece.crc32c);
    put(out, static_cast<u8>(piece.name.size()));
    out += piece.name;
  }
  return out;
}

Result<SnapshotImage> decode_image(Bytes bytes) {
  Reader in(bytes);
  SnapshotImage out;
  if (in.get<u32>() != kMagic || in.get<u8>() != kVersion || in.get<u8>() != 0 ||
      in.get<u16>() != 0) {
    in.spoil();
  }
  out.index = in.number();
  const u32 count = in.get<u32>();
  if (count > kSnapshotPiecesMax) {
    in.spoil();
  }
  for (u32 i = 0; i < count && in.good(); ++i) {
    SnapshotPiece piece;
    piece.size = in.number();
    piece.crc32c = in.get<u32>();
    piece.name = as_text(in.take(in.get<u8>()));
    if (piece.name.size() > kSnapshotNameBytesMax) {
      in.spoil();
    }
    out.pieces.push_back(std::move(piece));
  }
  if (!in.at_end()) {
    return damaged("the manifest of a snapshot");
  }
  return out;
}

std::string encode(const SnapshotBegin& request) {
  std::string out;
  put_head(out, request.envelope, 0);
  put(out, request.group.value());
  put(out, request.index);
  return out;
}

Result<SnapshotBegin> decode_snapshot_begin(Bytes bytes) {
  Reader in(bytes);
  SnapshotBegin out;
  u8 flags = 0;
  out.envelope = get_head(in, 0, flags);
  out.group = GroupId{in.get<u64>()};
  out.index = in.number();
  if (!in.at_end()) {
    return damaged("a request for a snapshot");
  }
  return out;
}

std::string encode(const SnapshotRead& request) {
  std::string out;
  put_head(out, request.envelope, 0);
  put(out, request.group.value());
  put(out, request.index);
  put(out, request.piece);
  put(out, request.length);
  put(out, request.offset);
  return out;
}

Result<SnapshotRead> decode_snapshot_read(Bytes bytes) {
  Reader in(bytes);
  SnapshotRead out;
  u8 flags = 0;
  out.envelope = get_head(in, 0, flags);
  out.group = GroupId{in.get<u64>()};
  out.index = in.number();
  out.piece = in.get<u32>();
  out.length = in.get<u32>();
  out.offset = in.number();
  if (!in.at_end() || out.length > kSnapshotReadBytesMax) {
    return damaged("a request for a piece of a snapshot");
  }
  return out;
}

std::string encode_meta(const SnapshotMeta& meta) {
  std::string out;
  put(out, meta);
  return out;
}

Result<SnapshotMeta> decode_meta(Bytes bytes) {
  Reader in(bytes);
  SnapshotMeta out = get_meta(in);
  if (!in.at_end()) {
    return damaged("the description of a snapshot");
  }
  return out;
}

}  // namespace pangu::raft
