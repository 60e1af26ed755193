#include "chunk/store/chunk_index.h"

#include <algorithm>

#include "base/check.h"

namespace pangu::chunk {

namespace {

constexpr u32 kFull = wire::kUnitDataMax;

// Payload bytes of the first `units` units of a pattern.
u64 bytes_of(const Pattern& pattern, u32 units) {
  if (pattern.partial == 0) {
    return u64{units} * kFull;
  }
  const u32 period = u32{pattern.full} + 1;
  const u64 period_bytes = u64{pattern.full} * kFull + pattern.partial;
  return units / period * period_bytes + u64{units % period} * kFull;
}

// What the unit after the `units` that a pattern has would hold if it went on.
u32 next_of(const Pattern& pattern) {
  const u32 period = u32{pattern.full} + 1;
  return pattern.partial != 0 && pattern.units % period == pattern.full ? pattern.partial : kFull;
}

// Makes a pattern take one more unit; false if it cannot.
bool extend(Pattern& pattern, u32 data_len) {
  if (data_len == next_of(pattern)) {
    ++pattern.units;
    return true;
  }
  if (pattern.partial == 0 && data_len < kFull && pattern.units <= 0xffff) {
    pattern.full = static_cast<u16>(pattern.units);
    pattern.partial = static_cast<u16>(data_len);
    ++pattern.units;
    return true;
  }
  return false;
}

ChunkIndex::Hit find_in(const Pattern& pattern, u32 offset) {
  const u32 relative = offset - pattern.first_offset;
  if (pattern.partial == 0) {
    const u32 unit = relative / kFull;
    return {.unit = pattern.first_unit + unit, .start = pattern.first_offset + unit * kFull};
  }
  const u32 period_bytes = u32{pattern.full} * kFull + pattern.partial;
  const u32 periods = relative / period_bytes;
  const u32 inside = std::min(relative % period_bytes / kFull, u32{pattern.full});
  return {.unit = pattern.first_unit + periods * (u32{pattern.full} + 1) + inside,
          .start = pattern.first_offset + periods * period_bytes + inside * kFull};
}

}  // namespace

void ChunkIndex::add(u32 data_len) {
  CHECK(data_len > 0 && data_len <= kFull);
  if (!samples_.empty()) {
    if ((units_end_ - first_unit_) % kSampleEvery == 0) {
      samples_.push_back(offset_end_);
    }
  } else if (patterns_.empty() || !extend(patterns_.back(), data_len)) {
    Pattern fresh{.first_unit = units_end_, .first_offset = offset_end_, .units = 0};
    extend(fresh, data_len);
    patterns_.push_back(fresh);
  }
  ++units_end_;
  offset_end_ += data_len;
  if (patterns_.size() > kPatternsMax) {
    become_sampled();
  }
}

void ChunkIndex::become_sampled() {
  std::vector<u32> samples;
  for (const Pattern& pattern : patterns_) {
    const u32 before = pattern.first_unit - first_unit_;
    for (u32 i = (kSampleEvery - before % kSampleEvery) % kSampleEvery; i < pattern.units;
         i += kSampleEvery) {
      samples.push_back(pattern.first_offset + static_cast<u32>(bytes_of(pattern, i)));
    }
  }
  samples_ = std::move(samples);
  patterns_ = std::vector<Pattern>();  // and its memory
}

void ChunkIndex::truncate(u32 unit_count, u32 end_offset) {
  if (unit_count >= units_end_) {
    return;
  }
  if (unit_count <= first_unit_) {
    *this = ChunkIndex(unit_count, end_offset);
    return;
  }
  units_end_ = unit_count;
  offset_end_ = end_offset;
  samples_.resize(samples_.empty() ? 0
                                   : (unit_count - first_unit_ + kSampleEvery - 1) / kSampleEvery);
  while (!patterns_.empty() && patterns_.back().first_unit >= unit_count) {
    patterns_.pop_back();
  }
  if (!patterns_.empty()) {
    Pattern& last = patterns_.back();
    last.units = unit_count - last.first_unit;
    if (last.units <= last.full) {
      last.full = 0;  // the partial unit that made the pattern is gone
      last.partial = 0;
    }
  }
}

std::optional<ChunkIndex::Hit> ChunkIndex::find(u32 offset) const {
  if (offset < first_offset_ || offset >= offset_end_) {
    return std::nullopt;
  }
  if (!samples_.empty()) {
    const auto after = std::upper_bound(samples_.begin(), samples_.end(), offset);
    const auto index = static_cast<u32>(after - samples_.begin()) - 1;
    return Hit{.unit = first_unit_ + index * kSampleEvery, .start = samples_[index],
               .exact = false};
  }
  const auto after = std::upper_bound(
      patterns_.begin(), patterns_.end(), offset,
      [](u32 wanted, const Pattern& pattern) { return wanted < pattern.first_offset; });
  return find_in(*(after - 1), offset);
}

IndexImage ChunkIndex::to_image(const ChunkId& chunk) const {
  CHECK(first_unit_ == 0);
  return {.chunk = chunk,
          .length = offset_end_,
          .unit_count = units_end_,
          .patterns = patterns_,
          .samples = samples_};
}

std::optional<ChunkIndex> ChunkIndex::from_image(const IndexImage& image) {
  ChunkIndex out;
  u64 units = 0;
  u64 offset = 0;
  for (const Pattern& pattern : image.patterns) {
    if (pattern.first_unit != units || pattern.first_offset != offset || pattern.units == 0 ||
        pattern.partial >= kFull) {
      return std::nullopt;
    }
    units += pattern.units;
    offset += bytes_of(pattern, pattern.units);
  }
  if (image.samples.empty()) {
    if (units != image.unit_count || offset != image.length) {
      return std::nullopt;
    }
  } else if (!image.patterns.empty() || image.samples.front() != 0 ||
             image.samples.size() != (u64{image.unit_count} + kSampleEvery - 1) / kSampleEvery ||
             !std::is_sorted(image.samples.begin(), image.samples.end())) {
    return std::nullopt;
  }
  out.units_end_ = image.unit_count;
  out.offset_end_ = image.length;
  out.patterns_ = image.patterns;
  out.samples_ = image.samples;
  return out;
}

}  // namespace pangu::chunk
