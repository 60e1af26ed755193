#include "chunk/format/index_image.h"

#include <algorithm>

#include "base/check.h"
#include "wire/data_plane.h"

namespace pangu::chunk {

namespace {

enum class Kind : u16 { patterns = 1, samples = 2 };

struct IndexHeader {
  u32 magic;
  u16 version;
  u16 kind;
  wire::WireChunkId chunk;
  u32 length;
  u32 unit_count;
  u32 part;
  u32 parts;
  u32 count;  // of entries in all parts
  u32 zero;
};
static_assert(sizeof(IndexHeader) == 48);

constexpr size_t kRoom = kSectorBodyMax - sizeof(IndexHeader);
constexpr size_t kPatternsPerSector = kRoom / sizeof(Pattern);
constexpr size_t kSamplesPerSector = kRoom / sizeof(u32);

u32 parts_of(size_t count, size_t per_sector) {
  return static_cast<u32>(std::max<size_t>(1, (count + per_sector - 1) / per_sector));
}

template <class T>
void put_part(const std::vector<T>& values, size_t per_sector, u32 part, std::byte* into) {
  const size_t first = size_t{part} * per_sector;
  const size_t count = std::min(values.size() - std::min(first, values.size()), per_sector);
  if (count > 0) {
    std::memcpy(into, values.data() + first, count * sizeof(T));
  }
}

template <class T>
void get_part(std::vector<T>& values, size_t per_sector, u32 part, const std::byte* from) {
  const size_t first = size_t{part} * per_sector;
  const size_t count = std::min(values.size() - std::min(first, values.size()), per_sector);
  if (count > 0) {
    std::memcpy(values.data() + first, from, count * sizeof(T));
  }
}

}  // namespace

u32 index_sectors_for(const IndexImage& index) {
  return index.samples.empty() ? parts_of(index.patterns.size(), kPatternsPerSector)
                               : parts_of(index.samples.size(), kSamplesPerSector);
}

void encode_index(const IndexImage& index, std::byte* sectors) {
  const bool sampled = !index.samples.empty();
  const u32 parts = index_sectors_for(index);
  std::memset(sectors, 0, size_t{parts} * kSectorBytes);
  for (u32 part = 0; part < parts; ++part) {
    std::byte* sector = sectors + size_t{part} * kSectorBytes;
    store_le(sector,
             IndexHeader{.magic = kIndexMagic,
                         .version = 1,
                         .kind = static_cast<u16>(sampled ? Kind::samples : Kind::patterns),
                         .chunk = wire::to_wire(index.chunk),
                         .length = index.length,
                         .unit_count = index.unit_count,
                         .part = part,
                         .parts = parts,
                         .count = static_cast<u32>(sampled ? index.samples.size()
                                                           : index.patterns.size()),
                         .zero = 0});
    std::byte* body = sector + sizeof(IndexHeader);
    if (sampled) {
      put_part(index.samples, kSamplesPerSector, part, body);
    } else {
      put_part(index.patterns, kPatternsPerSector, part, body);
    }
    seal_sector(sector);
  }
}

std::optional<IndexImage> decode_index(const ChunkId& chunk, const std::byte* sectors, u32 count) {
  IndexImage out;
  out.chunk = chunk;
  for (u32 part = 0; part < count; ++part) {
    const std::byte* sector = sectors + size_t{part} * kSectorBytes;
    const auto header = load_le<IndexHeader>(sector);
    const bool sampled = header.kind == static_cast<u16>(Kind::samples);
    const size_t per_sector = sampled ? kSamplesPerSector : kPatternsPerSector;
    if (!sector_ok(sector, kIndexMagic) || header.version != 1 || header.part != part ||
        header.parts != count || wire::from_wire(header.chunk) != chunk ||
        (!sampled && header.kind != static_cast<u16>(Kind::patterns)) ||
        header.count > size_t{count} * per_sector) {
      return std::nullopt;
    }
    if (part == 0) {
      out.length = header.length;
      out.unit_count = header.unit_count;
      (sampled ? void(out.samples.resize(header.count)) : out.patterns.resize(header.count));
    } else if (out.length != header.length || out.unit_count != header.unit_count ||
               header.count != (sampled ? out.samples.size() : out.patterns.size())) {
      return std::nullopt;
    }
    if (sampled) {
      get_part(out.samples, kSamplesPerSector, part, sector + sizeof(IndexHeader));
    } else {
      get_part(out.patterns, kPatternsPerSector, part, sector + sizeof(IndexHeader));
    }
  }
  return out;
}

}  // namespace pangu::chunk
