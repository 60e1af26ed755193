#include "env/sim/page_store.h"

#include <algorithm>

namespace pangu::env::sim {

namespace {
constexpr size_t kPagesPerSlab = 64;

// Calls visit(page, offset in the page, size, offset from the start) for each page of a range.
template <class Visit>
void for_pages(u64 offset, u64 size, Visit visit) {
  for (u64 done = 0; done < size;) {
    const u64 in_page = (offset + done) % kPage;
    const u64 part = std::min(size - done, kPage - in_page);
    visit((offset + done) / kPage, in_page, part, done);
    done += part;
  }
}
}  // namespace

Page* PagePool::take() {
  if (free_.empty()) {
    slabs_.push_back(std::make_unique_for_overwrite<Page[]>(kPagesPerSlab));
    for (size_t i = kPagesPerSlab; i > 0; --i) {
      free_.push_back(&slabs_.back()[i - 1]);
    }
  }
  Page* page = free_.back();
  free_.pop_back();
  return page;
}

PageStore::~PageStore() {
  for (Record& record : records_) {
    recycle(record);
  }
  for (const auto& leaf : leaves_) {
    if (leaf != nullptr) {
      for (Page* page : *leaf) {
        *usage_ -= page != nullptr ? kPage : 0;
        pool_.give(page);
      }
    }
  }
}

Page* PageStore::find(u64 page) const {
  const u64 leaf = page / kLeafPages;
  return leaf < leaves_.size() && leaves_[leaf] != nullptr ? (*leaves_[leaf])[page % kLeafPages]
                                                           : nullptr;
}

void PageStore::place(u64 page, Page* bytes) {
  const u64 leaf = page / kLeafPages;
  if (leaf >= leaves_.size()) {
    leaves_.resize(leaf + 1);
  }
  if (leaves_[leaf] == nullptr) {
    leaves_[leaf] = std::make_unique<Leaf>();
  }
  Page*& slot = (*leaves_[leaf])[page % kLeafPages];
  *usage_ += bytes != nullptr ? kPage : 0;
  *usage_ -= slot != nullptr ? kPage : 0;
  slot = bytes;
}

Page* PageStore::owned(u64 page) {
  Page* bytes = find(page);
  if (bytes == nullptr) {
    bytes = pool_.take();
    bytes->bytes.fill(std::byte{0});
    place(page, bytes);
  }
  return bytes;
}

u64 PageStore::growth(u64 offset, u64 size) const {
  u64 pages = 0;
  for_pages(offset, size, [&](u64 page, u64, u64, u64) { pages += find(page) == nullptr ? 1 : 0; });
  return pages * kPage;
}

u64 PageStore::read(u64 offset, MutableBytes into) const {
  const u64 there = offset >= size_ ? 0 : std::min<u64>(into.size(), size_ - offset);
  for_pages(offset, there, [&](u64 page, u64 in_page, u64 part, u64 done) {
    const Page* bytes = find(page);
    if (bytes == nullptr) {
      std::memset(into.data() + done, 0, part);
    } else {
      std::memcpy(into.data() + done, bytes->bytes.data() + in_page, part);
    }
  });
  return there;
}

void PageStore::write(u64 offset, Bytes from, bool durable) {
  if (durable) {
    write_durable(offset, from);
  } else {
    write_volatile(offset, from);
  }
}

PageStore::Record& PageStore::new_record(u64 offset, u64 size) {
  Record& record = records_.emplace_back();
  record.number = next_record_++;
  record.offset = offset;
  record.size = size;
  if (!spare_.empty()) {
    record.before = std::move(spare_.back());
    spare_.pop_back();
  }
  return record;
}

void PageStore::recycle(Record& record) {
  for (const Before& before : record.before) {
    pool_.give(before.bytes);
  }
  record.before.clear();
  spare_.push_back(std::move(record.before));
}

void PageStore::write_volatile(u64 offset, Bytes from) {
  Record& record = new_record(offset, from.size());
  for_pages(offset, from.size(), [&](u64 page, u64 in_page, u64 part, u64 done) {
    Page* old = find(page);
    Page* now = pool_.take();
    if (part < kPage) {
      if (old == nullptr) {
        now->bytes.fill(std::byte{0});
      } else {
        now->bytes = old->bytes;
      }
    }
    std::memcpy(now->bytes.data() + in_page, from.data() + done, part);
    record.before.push_back({page, old});
    place(page, now);
  });
  size_ = std::max(size_, offset + from.size());
  record.file_size_after = size_;
}

// Earlier volatile writes of the same bytes are overtaken: undoing them must bring back these
// bytes.
void PageStore::write_durable(u64 offset, Bytes from) {
  for_pages(offset, from.size(), [&](u64 page, u64 in_page, u64 part, u64 done) {
    std::memcpy(owned(page)->bytes.data() + in_page, from.data() + done, part);
  });
  for (Record& record : records_) {
    if (record.offset + record.size <= offset || offset + from.size() <= record.offset) {
      continue;
    }
    for (Before& before : record.before) {
      const u64 start = std::max(offset, before.page * kPage);
      const u64 end = std::min(offset + from.size(), (before.page + 1) * kPage);
      if (start >= end) {
        continue;
      }
      if (before.bytes == nullptr) {
        before.bytes = pool_.take();
        before.bytes->bytes.fill(std::byte{0});
      }
      std::memcpy(before.bytes->bytes.data() + start % kPage, from.data() + (start - offset),
                  end - start);
    }
  }
  size_ = std::max(size_, offset + from.size());
  durable_size_ = std::max(durable_size_, offset + from.size());
}

// Makes everything from `from` on a hole, moving what was there into `record` (or dropping it).
void PageStore::clear_tail(u64 from, Record* record) {
  const u64 first = from / kPage;
  for (u64 page = first; page < leaves_.size() * kLeafPages; ++page) {
    if (leaves_[page / kLeafPages] == nullptr) {
      page = (page / kLeafPages + 1) * kLeafPages - 1;
      continue;
    }
    Page* old = find(page);
    if (old == nullptr) {
      continue;
    }
    Page* now = nullptr;
    if (page == first && from % kPage != 0) {
      now = pool_.take();
      now->bytes = old->bytes;
      std::memset(now->bytes.data() + from % kPage, 0, kPage - from % kPage);
    }
    place(page, now);
    if (record != nullptr) {
      record->before.push_back({page, old});
    } else {
      pool_.give(old);
    }
  }
}

void PageStore::resize(u64 size) {
  Record& record = new_record(std::min(size, size_), size < size_ ? size_ - size : 0);
  record.is_resize = true;
  record.file_size_after = size;
  if (size < size_) {
    clear_tail(size, &record);
  }
  size_ = size;
}

void PageStore::flip(u64 offset, u32 bit) {
  CHECK(offset < size_);
  owned(offset / kPage)->bytes[offset % kPage] ^= std::byte{1} << (bit % 8);
}

// What `page` held right after the write of records_[record].
const Page* PageStore::page_after(size_t record, u64 page) const {
  for (size_t i = record + 1; i < records_.size(); ++i) {
    for (const Before& before : records_[i].before) {
      if (before.page == page) {
        return before.bytes;
      }
    }
  }
  return find(page);
}

// Doomed writes that came before a hardened one must not take its bytes away when they are undone.
void PageStore::protect_from_doomed(size_t hardened) {
  const Record& record = records_[hardened];
  for (size_t i = 0; i < hardened; ++i) {
    for (Before& before : records_[i].before) {
      const u64 start = std::max(record.offset, before.page * kPage);
      const u64 end = std::min(record.offset + record.size, (before.page + 1) * kPage);
      if (!records_[i].doomed || start >= end) {
        continue;
      }
      const Page* after = page_after(hardened, before.page);
      if (before.bytes == nullptr) {
        before.bytes = pool_.take();
        before.bytes->bytes.fill(std::byte{0});
      }
      if (after == nullptr) {
        std::memset(before.bytes->bytes.data() + start % kPage, 0, end - start);
      } else {
        std::memcpy(before.bytes->bytes.data() + start % kPage, after->bytes.data() + start % kPage,
                    end - start);
      }
    }
  }
}

void PageStore::harden(u64 mark) {
  for (size_t i = 0; any_doomed_ && i < records_.size(); ++i) {
    if (records_[i].number < mark && !records_[i].doomed) {
      protect_from_doomed(i);
    }
  }
  size_t left = 0;
  for (size_t i = 0; i < records_.size(); ++i) {
    Record& record = records_[i];
    if (record.number < mark && !record.doomed) {
      durable_size_ = record.is_resize ? record.file_size_after
                                       : std::max(durable_size_, record.offset + record.size);
      recycle(record);
    } else {
      if (left != i) {
        records_[left] = std::move(record);
      }
      ++left;
    }
  }
  records_.erase(records_.begin() + static_cast<std::ptrdiff_t>(left), records_.end());
}

void PageStore::doom(u64 mark) {
  for (Record& record : records_) {
    record.doomed = record.doomed || record.number < mark;
  }
  any_doomed_ = !records_.empty();
}

// Decides each sector of one write: it stays with probability `keep`, else the bytes from before
// come back; unless a later write that stayed has decided it. Returns whether anything stayed.
bool PageStore::undo_sectors(const Record& record, Prng& prng, const TearModel& model, double keep,
                             Decided& decided) {
  bool any_kept = false;
  const u64 end = record.offset + record.size;
  for (const Before& before : record.before) {
    const u64 page_start = before.page * kPage;
    u8& decided_here = decided[before.page];
    for (u64 at = page_start; at < page_start + kPage; at += model.sector) {
      const u64 start = std::max(at, record.offset);
      const u64 stop = std::min(at + model.sector, end);
      if (start >= stop) {
        continue;
      }
      const u8 bit = static_cast<u8>(1u << ((at - page_start) / 512));
      const bool stays = prng.chance(keep);
      any_kept = any_kept || stays;
      if ((decided_here & bit) != 0) {
        continue;
      }
      if (stays) {
        decided_here |= bit;
        continue;
      }
      std::byte* now = owned(before.page)->bytes.data() + start % kPage;
      if (before.bytes == nullptr) {
        std::memset(now, 0, stop - start);
      } else {
        std::memcpy(now, before.bytes->bytes.data() + start % kPage, stop - start);
      }
    }
  }
  return any_kept;
}

void PageStore::power_loss(Prng& prng, const TearModel& model) {
  Decided decided;
  std::vector<bool> survived(records_.size());
  for (size_t i = records_.size(); i > 0; --i) {
    const Record& record = records_[i - 1];
    const double fate = record.doomed ? 1.0 : prng.unit();
    const bool kept = fate < model.kept;
    const bool torn = !kept && fate < 1.0 - model.lost && !record.is_resize;
    const double keep = kept ? 1.0 : torn ? 0.5 : 0.0;
    const bool any_kept = undo_sectors(record, prng, model, keep, decided);
    survived[i - 1] = record.is_resize ? kept : any_kept;
  }
  u64 size = durable_size_;
  for (size_t i = 0; i < records_.size(); ++i) {
    const Record& record = records_[i];
    if (survived[i]) {
      size =
          record.is_resize ? record.file_size_after : std::max(size, record.offset + record.size);
    }
  }
  for (Record& record : records_) {
    recycle(record);
  }
  records_.clear();
  any_doomed_ = false;
  size_ = durable_size_ = size;
  clear_tail(size, nullptr);
}

}  // namespace pangu::env::sim
