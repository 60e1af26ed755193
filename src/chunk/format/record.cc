#include "chunk/format/record.h"

#include "base/check.h"

namespace pangu::chunk {

namespace {

enum class Type : u8 {
  chunk = 1,
  tombstone = 2,
  reserve = 3,
  release = 4,
  prewritten = 5,
  forget_files = 6,
  forget = 7,
};

struct Frame {
  u8 type;
  u8 zero[3];
  u32 length;  // with this frame
  u64 lsn;
};
static_assert(sizeof(Frame) == 16);

enum ChunkFlags : u16 {
  kFinalized = 1,
  kClosed = 2,
  kReborn = 4,
  kHeadless = 8,
  kDamaged = 16,
  kRegular = 32,
};

struct ChunkImage {
  wire::WireChunkId chunk;
  u64 base;
  u32 owner_epoch;
  u32 fence;
  u32 limit;
  u32 length;
  u32 unit_count;
  u32 version;
  u16 flags;
  u8 copies_max;
  u8 copies_min;
  u8 header_sectors;
  u8 zero0;
  u16 index_sectors;
  u32 blocks_before;
  u16 history_count;
  u16 zero1;
  u32 extent_count;
  u32 released_count;
  u32 known_committed;
  u32 valid;
};
static_assert(sizeof(ChunkImage) == 80);
static_assert(std::has_unique_object_representations_v<ChunkImage>);

enum TombstoneFlags : u8 { kTombDeleted = 1, kTombClosed = 2 };

struct TombstoneImage {
  wire::WireChunkId chunk;
  u32 fence;
  u8 flags;
  u8 zero[3];
  u32 released_count;
  u32 zero1;
};
static_assert(sizeof(TombstoneImage) == 32);
static_assert(sizeof(Frame) + sizeof(TombstoneImage) == kTombstoneBytes);

struct ExtentsImage {
  u64 sequence;
  u32 count;
  u32 zero;
};
static_assert(sizeof(ExtentsImage) == 16);

struct ForgetFilesImage {
  u64 first;
  u64 last;
};

struct ForgetImage {
  wire::WireChunkId from;
  wire::WireChunkId until;
};
static_assert(sizeof(Frame) + sizeof(ForgetImage) == kForgetBytes);

class Writer {
 public:
  explicit Writer(std::vector<std::byte>& into) : into_(into) {}
  template <class T>
  void put(const T& value) {
    static_assert(std::has_unique_object_representations_v<T>);
    const Bytes bytes = as_bytes_of(value);
    into_.insert(into_.end(), bytes.begin(), bytes.end());
  }
  template <class T>
  void put_all(const std::vector<T>& values) {
    for (const T& value : values) {
      put(value);
    }
  }

 private:
  std::vector<std::byte>& into_;
};

class Reader {
 public:
  explicit Reader(Bytes from) : from_(from) {}
  template <class T>
  bool get(T& value) {
    if (from_.size() < sizeof(T)) {
      return false;
    }
    value = load_le<T>(from_.data());
    from_ = from_.subspan(sizeof(T));
    return true;
  }
  template <class T>
  bool get_all(std::vector<T>& values, size_t count) {
    if (from_.size() / sizeof(T) < count) {
      return false;
    }
    values.resize(count);
    for (T& value : values) {
      get(value);
    }
    return true;
  }
  bool at_end() const { return from_.empty(); }

 private:
  Bytes from_;
};

Type put(Writer& writer, const ChunkRecord& r) {
  u16 flags = 0;
  flags |= r.finalized ? kFinalized : 0;
  flags |= r.closed ? kClosed : 0;
  flags |= r.reborn ? kReborn : 0;
  flags |= r.headless ? kHeadless : 0;
  flags |= r.damaged ? kDamaged : 0;
  flags |= r.regular ? kRegular : 0;
  writer.put(ChunkImage{.chunk = wire::to_wire(r.chunk),
                        .base = r.base,
                        .owner_epoch = r.owner_epoch.number,
                        .fence = r.fence.number,
                        .limit = r.limit,
                        .length = r.length,
                        .unit_count = r.unit_count,
                        .version = r.version,
                        .flags = flags,
                        .copies_max = r.copies_max,
                        .copies_min = r.copies_min,
                        .header_sectors = r.header_sectors,
                        .zero0 = 0,
                        .index_sectors = r.index_sectors,
                        .blocks_before = r.blocks_before,
                        .history_count = static_cast<u16>(r.history.size()),
                        .zero1 = 0,
                        .extent_count = static_cast<u32>(r.extents.size()),
                        .released_count = static_cast<u32>(r.released.size()),
                        .known_committed = r.known_committed,
                        .valid = r.valid});
  writer.put_all(r.history);
  writer.put_all(r.extents);
  writer.put_all(r.released);
  return Type::chunk;
}

Type put(Writer& writer, const TombstoneRecord& r) {
  u8 flags = 0;
  flags |= r.deleted ? kTombDeleted : 0;
  flags |= r.closed ? kTombClosed : 0;
  writer.put(TombstoneImage{.chunk = wire::to_wire(r.chunk),
                            .fence = r.fence.number,
                            .flags = flags,
                            .zero = {},
                            .released_count = static_cast<u32>(r.released.size()),
                            .zero1 = 0});
  writer.put_all(r.released);
  return Type::tombstone;
}

void put_extents(Writer& writer, u64 sequence, const std::vector<Extent>& extents) {
  writer.put(ExtentsImage{
      .sequence = sequence, .count = static_cast<u32>(extents.size()), .zero = 0});
  writer.put_all(extents);
}

Type put(Writer& writer, const ReserveRecord& r) {
  put_extents(writer, r.sequence, r.extents);
  return Type::reserve;
}
Type put(Writer& writer, const ReleaseRecord& r) {
  put_extents(writer, 0, r.extents);
  return Type::release;
}
Type put(Writer& writer, const PrewrittenRecord& r) {
  put_extents(writer, 0, r.extents);
  return Type::prewritten;
}
Type put(Writer& writer, const ForgetFilesRecord& r) {
  writer.put(ForgetFilesImage{.first = r.first.number, .last = r.last.number});
  return Type::forget_files;
}
Type put(Writer& writer, const ForgetRecord& r) {
  writer.put(ForgetImage{.from = wire::to_wire(r.from), .until = wire::to_wire(r.until)});
  return Type::forget;
}

bool get(Reader& reader, ChunkRecord& r) {
  ChunkImage image{};
  if (!reader.get(image) || image.history_count > wire::kHistoryMax ||
      image.header_sectors == 0 || image.header_sectors > 2) {
    return false;
  }
  r.chunk = wire::from_wire(image.chunk);
  r.base = image.base;
  r.owner_epoch = {image.owner_epoch};
  r.fence = {image.fence};
  r.limit = image.limit;
  r.length = image.length;
  r.unit_count = image.unit_count;
  r.version = image.version;
  r.finalized = (image.flags & kFinalized) != 0;
  r.closed = (image.flags & kClosed) != 0;
  r.reborn = (image.flags & kReborn) != 0;
  r.headless = (image.flags & kHeadless) != 0;
  r.damaged = (image.flags & kDamaged) != 0;
  r.regular = (image.flags & kRegular) != 0;
  r.known_committed = image.known_committed;
  r.valid = image.valid;
  r.copies_max = image.copies_max;
  r.copies_min = image.copies_min;
  r.header_sectors = image.header_sectors;
  r.index_sectors = image.index_sectors;
  r.blocks_before = image.blocks_before;
  return reader.get_all(r.history, image.history_count) &&
         reader.get_all(r.extents, image.extent_count) &&
         reader.get_all(r.released, image.released_count);
}

bool get(Reader& reader, TombstoneRecord& r) {
  TombstoneImage image{};
  if (!reader.get(image)) {
    return false;
  }
  r.chunk = wire::from_wire(image.chunk);
  r.fence = {image.fence};
  r.deleted = (image.flags & kTombDeleted) != 0;
  r.closed = (image.flags & kTombClosed) != 0;
  return reader.get_all(r.released, image.released_count);
}

bool get_extents(Reader& reader, u64& sequence, std::vector<Extent>& extents) {
  ExtentsImage image{};
  if (!reader.get(image)) {
    return false;
  }
  sequence = image.sequence;
  return reader.get_all(extents, image.count);
}

bool get(Reader& reader, ReserveRecord& r) { return get_extents(reader, r.sequence, r.extents); }
bool get(Reader& reader, ReleaseRecord& r) {
  u64 none = 0;
  return get_extents(reader, none, r.extents);
}
bool get(Reader& reader, PrewrittenRecord& r) {
  u64 none = 0;
  return get_extents(reader, none, r.extents);
}
bool get(Reader& reader, ForgetFilesRecord& r) {
  ForgetFilesImage image{};
  if (!reader.get(image) || image.first > image.last || image.last == ~u64{0}) {
    return false;
  }
  r = {.first = {image.first}, .last = {image.last}};
  return true;
}
bool get(Reader& reader, ForgetRecord& r) {
  ForgetImage image{};
  if (!reader.get(image)) {
    return false;
  }
  r = {.from = wire::from_wire(image.from), .until = wire::from_wire(image.until)};
  return r.from < r.until;
}

template <class T>
bool get_as(Reader& reader, Record& into) {
  T record;
  if (!get(reader, record) || !reader.at_end()) {
    return false;
  }
  into = std::move(record);
  return true;
}

bool get_type(u8 type, Reader& reader, Record& into) {
  switch (static_cast<Type>(type)) {
    case Type::chunk:
      return get_as<ChunkRecord>(reader, into);
    case Type::tombstone:
      return get_as<TombstoneRecord>(reader, into);
    case Type::reserve:
      return get_as<ReserveRecord>(reader, into);
    case Type::release:
      return get_as<ReleaseRecord>(reader, into);
    case Type::prewritten:
      return get_as<PrewrittenRecord>(reader, into);
    case Type::forget_files:
      return get_as<ForgetFilesRecord>(reader, into);
    case Type::forget:
      return get_as<ForgetRecord>(reader, into);
  }
  return false;
}

}  // namespace

void encode_record(const Record& record, u64 lsn, std::vector<std::byte>& into) {
  const size_t start = into.size();
  into.resize(start + sizeof(Frame));
  Writer writer(into);
  const Type type = std::visit([&writer](const auto& each) { return put(writer, each); }, record);
  const size_t length = into.size() - start;
  CHECK(length <= kRecordBytesMax);
  store_le(into.data() + start, Frame{.type = static_cast<u8>(type),
                                      .zero = {},
                                      .length = static_cast<u32>(length),
                                      .lsn = lsn});
}

size_t encoded_bytes(const ChunkRecord& record) {
  return sizeof(Frame) + sizeof(ChunkImage) + record.history.size() * sizeof(wire::HistoryEntry) +
         (record.extents.size() + record.released.size()) * sizeof(Extent);
}

Result<DecodedRecord> decode_record(Bytes& bytes) {
  if (bytes.size() < sizeof(Frame)) {
    return Error(Code::kCorrupt, "a record is cut off");
  }
  const auto frame = load_le<Frame>(bytes.data());
  if (frame.length < sizeof(Frame) || frame.length > kRecordBytesMax ||
      frame.length > bytes.size()) {
    return Error(Code::kCorrupt, "a record's length is out of bounds");
  }
  DecodedRecord out;
  out.lsn = frame.lsn;
  Reader reader(bytes.subspan(sizeof(Frame), frame.length - sizeof(Frame)));
  if (!get_type(frame.type, reader, out.record)) {
    return Error(Code::kCorrupt, "a record does not parse");
  }
  bytes = bytes.subspan(frame.length);
  return out;
}

}  // namespace pangu::chunk
