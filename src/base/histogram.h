#pragma once
#include <array>
#include <bit>

#include "base/types.h"

namespace pangu {

// A log-linear histogram of unsigned values (latencies in ns or µs, sizes): 32 buckets a power of
// two, so a percentile is within 3.2 % of the truth. Adding is one increment; it never allocates.
class Histogram {
 public:
  void add(u64 value) {
    ++buckets_[bucket_of(value)];
    ++count_;
    sum_ += value;
    max_ = value > max_ ? value : max_;
  }
  void merge(const Histogram& other) {
    for (size_t i = 0; i < kBuckets; ++i) {
      buckets_[i] += other.buckets_[i];
    }
    count_ += other.count_;
    sum_ += other.sum_;
    max_ = other.max_ > max_ ? other.max_ : max_;
  }
  u64 count() const { return count_; }
  u64 max() const { return max_; }
  u64 sum() const { return sum_; }
  double mean() const {
    return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_);
  }
  // The smallest bucket bound that at least `fraction` of the values do not exceed; 0 when empty.
  u64 percentile(double fraction) const {
    if (count_ == 0) {
      return 0;
    }
    const u64 wanted = static_cast<u64>(fraction * static_cast<double>(count_ - 1)) + 1;
    u64 seen = 0;
    for (size_t i = 0; i < kBuckets; ++i) {
      seen += buckets_[i];
      if (seen >= wanted) {
        const u64 bound = upper_bound_of(i);
        return bound < max_ ? bound : max_;
      }
    }
    return max_;
  }

 private:
  static constexpr unsigned kSubBits = 5;
  static constexpr size_t kBuckets = (64 - kSubBits + 1) << kSubBits;
  static size_t bucket_of(u64 value) {
    if (value < (u64{1} << kSubBits)) {
      return value;
    }
    const unsigned shift = static_cast<unsigned>(std::bit_width(value)) - 1 - kSubBits;
    return (size_t{shift + 1} << kSubBits) + ((value >> shift) & ((u64{1} << kSubBits) - 1));
  }
  static u64 upper_bound_of(size_t bucket) {
    if (bucket < (size_t{1} << kSubBits)) {
      return bucket;
    }
    const unsigned shift = static_cast<unsigned>(bucket >> kSubBits) - 1;
    const u64 base = (u64{1} << kSubBits) + (bucket & ((u64{1} << kSubBits) - 1));
    return ((base + 1) << shift) - 1;
  }
  std::array<u64, kBuckets> buckets_{};
  u64 count_ = 0;
  u64 sum_ = 0;
  u64 max_ = 0;
};

}  // namespace pangu
