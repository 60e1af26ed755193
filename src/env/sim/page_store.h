#pragma once
#include <array>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/prng.h"

// The bytes of one simulated file: sparse, and with a memory of what is not yet on stable media.
//
// Every write that is not durable leaves a record of what the bytes were before it. power_loss()
// then decides, write by write and sector by sector, what remains. The records are kept in the
// order in which the writes took effect.
namespace pangu::env::sim {

inline constexpr u64 kPage = 4096;

struct Page {
  alignas(64) std::array<std::byte, kPage> bytes;
};

// Pages for all files of a world. They come back uncleared.
class PagePool {
 public:
  Page* take();
  void give(Page* page) {
    if (page != nullptr) {
      free_.push_back(page);
    }
  }

 private:
  std::vector<std::unique_ptr<Page[]>> slabs_;
  std::vector<Page*> free_;
};

// How a power loss treats each write that was not durable.
struct TearModel {
  double kept = 0.35;
  double lost = 0.30;  // the rest is torn: each sector on its own is kept or lost
  u32 sector = 512;    // what the medium writes whole: 512 or 4096
};

class PageStore {
 public:
  // `usage`: grows and shrinks with the bytes of pages that this file holds.
  PageStore(PagePool& pool, std::shared_ptr<u64> usage) : pool_(pool), usage_(std::move(usage)) {}
  ~PageStore();
  PageStore(const PageStore&) = delete;
  PageStore& operator=(const PageStore&) = delete;

  u64 size() const { return size_; }
  // How many bytes of pages writing [offset, offset + size) would add.
  u64 growth(u64 offset, u64 size) const;

  // Copies what is there to the end of the file; returns how much.
  u64 read(u64 offset, MutableBytes into) const;
  void write(u64 offset, Bytes from, bool durable);
  void resize(u64 size);
  // Flips one bit of what is stored. REQUIRES: offset < size()
  void flip(u64 offset, u32 bit);

  // A mark of all that has been written so far, for harden().
  u64 mark() const { return next_record_; }
  // What was written before `mark` is on stable media now.
  void harden(u64 mark);
  // What was written before `mark` will never be, though it can be read: a flush of it has failed.
  void doom(u64 mark);
  bool has_volatile() const { return !records_.empty(); }
  void power_loss(Prng& prng, const TearModel& model);

 private:
  struct Before {
    u64 page;
    Page* bytes;  // nullptr: there was none (zeros)
  };
  struct Record {
    u64 number = 0;
    u64 offset = 0;
    u64 size = 0;
    u64 file_size_after = 0;
    bool is_resize = false;
    bool doomed = false;
    std::vector<Before> before;
  };
  static constexpr u64 kLeafPages = 512;
  using Leaf = std::array<Page*, kLeafPages>;

  Page* find(u64 page) const;
  void place(u64 page, Page* bytes);
  Page* owned(u64 page);  // made and zeroed if absent
  void write_volatile(u64 offset, Bytes from);
  void write_durable(u64 offset, Bytes from);
  void clear_tail(u64 from, Record* record);
  Record& new_record(u64 offset, u64 size);
  void recycle(Record& record);
  void protect_from_doomed(size_t hardened);
  const Page* page_after(size_t record, u64 page) const;
  // Page -> which of its sectors have got their final bytes already.
  using Decided = std::unordered_map<u64, u8>;
  bool undo_sectors(const Record& record, Prng& prng, const TearModel& model, double keep,
                    Decided& decided);

  PagePool& pool_;
  std::shared_ptr<u64> usage_;
  u64 size_ = 0;
  u64 durable_size_ = 0;
  u64 next_record_ = 1;
  bool any_doomed_ = false;
  std::vector<std::unique_ptr<Leaf>> leaves_;
  std::vector<Record> records_;
  std::vector<std::vector<Before>> spare_;  // emptied record vectors, to be used again
};

}  // namespace pangu::env::sim
