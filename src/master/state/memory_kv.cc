#include "master/state/memory_kv.h"

#include <fmt/core.h>

#include "base/bytes.h"
#include "base/crc32c.h"

namespace pangu::master {
namespace {

// The image: magic, count, then per entry {key size u32, value size u32, key, value}, then the CRC
// of all before it. Private to this file: another version of the program replays the log instead.
constexpr u32 kMagic = 0x4d49564b;  // "KVIM"

void append_number(std::string& out, u32 number) {
  char bytes[sizeof(number)];
  store_le(bytes, number);
  out.append(bytes, sizeof(bytes));
}

class View final : public KvReader {
 public:
  explicit View(const MemoryKv& kv) : kv_(kv) {}
  Result<std::optional<std::string>> get(std::string_view key) const override {
    return kv_.get(key);
  }
  Result<KvPage> scan(std::string_view from, std::string_view to, size_t limit) const override {
    return kv_.scan(from, to, limit);
  }

 private:
  const MemoryKv& kv_;
};

}  // namespace

Result<std::unique_ptr<Kv>> MemoryKv::open(env::FileSystem& files, std::string path) {
  auto kv = std::make_unique<MemoryKv>();
  kv->files_ = &files;
  kv->path_ = std::move(path);
  if (files.exists(kv->path_)) {
    TRY(image, files.read_file(kv->path_));
    TRY_VOID(kv->load(image));
  }
  return std::unique_ptr<Kv>(std::move(kv));
}

Status MemoryKv::load(std::string_view image) {
  const Error damaged(Code::kCorrupt,
                      fmt::format("{}: the image of the metadata store is damaged", path_));
  if (image.size() < 12 || load_le<u32>(image.data()) != kMagic ||
      load_le<u32>(image.data() + image.size() - 4) !=
          crc32c(as_bytes_of(image.substr(0, image.size() - 4)))) {
    return damaged;
  }
  const u32 count = load_le<u32>(image.data() + 4);
  std::string_view rest = image.substr(8, image.size() - 12);
  for (u32 i = 0; i < count; ++i) {
    if (rest.size() < 8) {
      return damaged;
    }
    const u64 key_size = load_le<u32>(rest.data());
    const u64 value_size = load_le<u32>(rest.data() + 4);
    rest.remove_prefix(8);
    if (rest.size() < key_size + value_size) {
      return damaged;
    }
    entries_.emplace(rest.substr(0, key_size), rest.substr(key_size, value_size));
    rest.remove_prefix(key_size + value_size);
  }
  return ok_status();
}

Result<std::optional<std::string>> MemoryKv::get(std::string_view key) const {
  const auto found = entries_.find(key);
  if (found == entries_.end()) {
    return std::optional<std::string>();
  }
  return std::optional<std::string>(found->second);
}

Result<KvPage> MemoryKv::scan(std::string_view from, std::string_view to, size_t limit) const {
  KvPage page;
  for (auto it = entries_.lower_bound(from); it != entries_.end() && it->first < to; ++it) {
    if (page.entries.size() == limit) {
      page.more = true;
      break;
    }
    page.entries.push_back({it->first, it->second});
  }
  return page;
}

Status MemoryKv::apply(const KvBatch& batch, MayWait) {
  for (const auto& [key, value] : batch) {
    if (value.has_value()) {
      entries_.insert_or_assign(key, *value);
    } else {
      entries_.erase(key);
    }
  }
  dirty_ = true;
  return ok_status();
}

Task<Status> MemoryKv::flush() {
  if (dirty_) {
    CO_TRY_VOID(write_image(entries_));
    dirty_ = false;
  }
  co_return ok_status();
}

Status MemoryKv::write_image(const Entries& entries) {
  if (files_ == nullptr) {
    return ok_status();
  }
  std::string image;
  append_number(image, kMagic);
  append_number(image, static_cast<u32>(entries.size()));
  for (const auto& [key, value] : entries) {
    append_number(image, static_cast<u32>(key.size()));
    append_number(image, static_cast<u32>(value.size()));
    image += key;
    image += value;
  }
  append_number(image, crc32c(as_bytes_of(std::string_view(image))));
  return files_->replace_file(path_, image);
}

class MemoryKv::Replacement final : public KvReplacement {
 public:
  explicit Replacement(MemoryKv& kv) : kv_(kv) {}
  Status add(const KvBatch& batch) override {
    for (const auto& [key, value] : batch) {
      if (value.has_value()) {
        entries_.insert_or_assign(key, *value);
      }
    }
    return ok_status();
  }
  Task<Status> commit() override {
    CO_TRY_VOID(kv_.write_image(entries_));
    kv_.entries_ = std::move(entries_);
    kv_.dirty_ = false;
    co_return ok_status();
  }

 private:
  MemoryKv& kv_;
  Entries entries_;
};

std::unique_ptr<KvReplacement> MemoryKv::begin_replacement() {
  return std::make_unique<Replacement>(*this);
}

std::unique_ptr<KvReader> MemoryKv::blocking_view() const {
  return std::make_unique<View>(*this);
}

Task<void> MemoryKv::close() {
  co_return;
}

}  // namespace pangu::master
