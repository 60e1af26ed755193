#include "chunk/format/block_sectors.h"

#include <algorithm>

#include "base/check.h"

namespace pangu::chunk {

namespace {

constexpr u16 kReservedVersion = 1;
constexpr u16 kHeaderVersion = 1;

struct ReservedImage {
  u32 magic;
  u16 version;
  u16 zero;
  u32 shard;
  u32 block;
  u64 sequence;
  Uuid device;
};
static_assert(sizeof(ReservedImage) == 40);

struct HeaderImage {
  u32 magic;
  u16 version;
  u8 part;
  u8 parts;
  u32 shard;
  u32 block;
  Uuid device;
  wire::WireChunkId chunk;
  u64 base;
  u32 owner_epoch;
  u32 limit;
  u8 copies_max;
  u8 copies_min;
  u16 history_count;  // in all parts
  u8 reborn;
  u8 zero[3];
};
static_assert(sizeof(HeaderImage) == 72);
static_assert(std::has_unique_object_representations_v<HeaderImage>);

constexpr u32 kHistoryPerSector =
    (kSectorBodyMax - sizeof(HeaderImage)) / sizeof(wire::HistoryEntry);
static_assert(kHistoryPerSector * kHeaderSectorsMax >= wire::kHistoryMax);

// Two parts belong together if all but the part number is equal.
bool same_header(HeaderImage a, const HeaderImage& b) {
  a.part = b.part;
  return std::memcmp(&a, &b, sizeof a) == 0;
}

}  // namespace

void encode_reserved(const ReservedSector& reserved, std::byte* sector) {
  std::memset(sector, 0, kSectorBytes);
  store_le(sector, ReservedImage{.magic = kReservedMagic,
                                 .version = kReservedVersion,
                                 .zero = 0,
                                 .shard = reserved.shard,
                                 .block = reserved.block,
                                 .sequence = reserved.sequence,
                                 .device = reserved.device});
  seal_sector(sector);
}

std::optional<ReservedSector> decode_reserved(const std::byte* sector) {
  const auto image = load_le<ReservedImage>(sector);
  if (!sector_ok(sector, kReservedMagic) || image.version != kReservedVersion) {
    return std::nullopt;
  }
  return ReservedSector{.device = image.device,
                        .shard = image.shard,
                        .block = image.block,
                        .sequence = image.sequence};
}

u32 header_sectors_for(size_t history_count) {
  return history_count > kHistoryPerSector ? 2 : 1;
}

void encode_header(const ChunkHeader& header, std::byte* sectors) {
  CHECK(header.history.size() <= wire::kHistoryMax);
  const u32 parts = header_sectors_for(header.history.size());
  std::memset(sectors, 0, size_t{parts} * kSectorBytes);
  size_t done = 0;
  for (u32 part = 0; part < parts; ++part) {
    std::byte* sector = sectors + size_t{part} * kSectorBytes;
    store_le(sector, HeaderImage{.magic = kHeaderMagic,
                                 .version = kHeaderVersion,
                                 .part = static_cast<u8>(part),
                                 .parts = static_cast<u8>(parts),
                                 .shard = header.shard,
                                 .block = header.block,
                                 .device = header.device,
                                 .chunk = wire::to_wire(header.chunk),
                                 .base = header.base,
                                 .owner_epoch = header.owner_epoch.number,
                                 .limit = header.limit,
                                 .copies_max = header.copies_max,
                                 .copies_min = header.copies_min,
                                 .history_count = static_cast<u16>(header.history.size()),
                                 .reborn = static_cast<u8>(header.reborn ? 1 : 0),
                                 .zero = {}});
    const size_t here = std::min<size_t>(header.history.size() - done, kHistoryPerSector);
    if (here > 0) {
      std::memcpy(sector + sizeof(HeaderImage), header.history.data() + done,
                  here * sizeof(wire::HistoryEntry));
    }
    done += here;
    seal_sector(sector);
  }
}

std::optional<ChunkHeader> decode_header(const std::byte* sectors, u32 available) {
  if (available == 0 || !sector_ok(sectors, kHeaderMagic)) {
    return std::nullopt;
  }
  const auto image = load_le<HeaderImage>(sectors);
  if (image.version != kHeaderVersion || image.part != 0 ||
      image.history_count > wire::kHistoryMax ||
      image.parts != header_sectors_for(image.history_count) || image.parts > available) {
    return std::nullopt;
  }
  ChunkHeader out{.device = image.device,
                  .shard = image.shard,
                  .block = image.block,
                  .chunk = wire::from_wire(image.chunk),
                  .base = image.base,
                  .owner_epoch = {image.owner_epoch},
                  .limit = image.limit,
                  .copies_max = image.copies_max,
                  .copies_min = image.copies_min,
                  .reborn = image.reborn != 0,
                  .history = {}};
  out.history.resize(image.history_count);
  size_t done = 0;
  for (u32 part = 0; part < image.parts; ++part) {
    const std::byte* sector = sectors + size_t{part} * kSectorBytes;
    if (part > 0) {
      const auto next = load_le<HeaderImage>(sector);
      if (!sector_ok(sector, kHeaderMagic) || next.part != part || !same_header(image, next)) {
        return std::nullopt;
      }
    }
    const size_t here = std::min<size_t>(out.history.size() - done, kHistoryPerSector);
    if (here > 0) {
      std::memcpy(out.history.data() + done, sector + sizeof(HeaderImage),
                  here * sizeof(wire::HistoryEntry));
    }
    done += here;
  }
  return out;
}

}  // namespace pangu::chunk
