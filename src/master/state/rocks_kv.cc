#include "master/state/rocks_kv.h"

#include <fmt/core.h>
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include "base/reached.h"
#include "runtime/await.h"

namespace pangu::master {
namespace {

rocksdb::Slice slice_of(std::string_view text) { return {text.data(), text.size()}; }

Error error_of(const rocksdb::Status& status, const std::string& path) {
  if (status.IsIncomplete()) {
    return Code::kBusy;
  }
  const Code code = status.IsNoSpace()    ? Code::kNoSpace
                    : status.IsCorruption() ? Code::kCorrupt
                    : status.IsIOError()    ? Code::kIoError
                                            : Code::kInternal;
  return Error(code, fmt::format("metadata store {}: {}", path, status.ToString()));
}

rocksdb::Options db_options(const RocksKvOptions& options) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(options.block_cache_bytes);
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.format_version = 5;
  rocksdb::Options db;
  db.create_if_missing = true;
  db.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  db.write_buffer_size = options.write_buffer_bytes;
  // Room for writes that come while older ones are being flushed: a full buffer would make the
  // writer wait.
  db.max_write_buffer_number = 6;
  // All tables stay open, with their indexes and filters: only data blocks can miss.
  db.max_open_files = -1;
  // The group flushes when it wants to; an end without that is like a crash, which is nothing special.
  db.avoid_flush_during_shutdown = true;
  db.compression = rocksdb::kLZ4Compression;
  db.info_log_level = rocksdb::WARN_LEVEL;
  db.keep_log_file_num = 4;
  db.stats_dump_period_sec = 0;
  db.stats_persist_period_sec = 0;
  return db;
}

std::string prefix_of(u64 group, u32 generation) {
  std::string out(sizeof(group) + sizeof(generation), '\0');
  for (size_t i = 0; i < sizeof(group); ++i) {
    out[i] = static_cast<char>(group >> (8 * (sizeof(group) - 1 - i)));
  }
  for (size_t i = 0; i < sizeof(generation); ++i) {
    out[sizeof(group) + i] = static_cast<char>(generation >> (8 * (sizeof(generation) - 1 - i)));
  }
  return out;
}

// Where a group's generation stands: group 0, generation 0, then the group's number.
constexpr u64 kPointers = 0;
std::string pointer_key(u64 group) { return prefix_of(kPointers, 0) + prefix_of(group, 0); }

std::string joined(std::string_view prefix, std::string_view key) {
  std::string out;
  out.reserve(prefix.size() + key.size());
  out.append(prefix);
  out.append(key);
  return out;
}

// The database and what its groups read by.
struct Database {
  std::unique_ptr<rocksdb::DB> db;
  std::string path;
};

Result<std::optional<std::string>> get_from(Database& from, const rocksdb::ReadOptions& options,
                                            const std::string& key) {
  std::optional<std::string> value(std::in_place);
  const rocksdb::Status status = from.db->Get(options, key, &*value);
  if (status.IsNotFound()) {
    value.reset();
  } else if (!status.ok()) {
    return error_of(status, from.path);
  }
  return value;
}

Result<KvPage> scan_from(Database& database, rocksdb::ReadOptions options,
                         const std::string& prefix, std::string_view from, std::string_view to,
                         size_t limit) {
  const std::string begin = joined(prefix, from);
  const std::string end = joined(prefix, to);
  const rocksdb::Slice upper = end;
  options.iterate_upper_bound = &upper;
  const std::unique_ptr<rocksdb::Iterator> it(database.db->NewIterator(options));
  KvPage page;
  for (it->Seek(begin); it->Valid(); it->Next()) {
    if (page.entries.size() == limit) {
      page.more = true;
      break;
    }
    rocksdb::Slice key = it->key();
    key.remove_prefix(prefix.size());
    page.entries.push_back({key.ToString(), it->value().ToString()});
  }
  if (!it->status().ok()) {
    return error_of(it->status(), database.path);
  }
  return page;
}

rocksdb::ReadOptions cached_only() {
  rocksdb::ReadOptions options;
  options.read_tier = rocksdb::kBlockCacheTier;
  return options;
}

rocksdb::WriteOptions unlogged() {
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  return options;
}

void add_range_removal(rocksdb::WriteBatch& batch, const std::string& from, const std::string& to) {
  const rocksdb::Status added = batch.DeleteRange(from, to);
  CHECK_NOTE(added.ok(), added.ToString());
}

Status write_and_flush(Database& database, rocksdb::WriteBatch& batch) {
  rocksdb::Status status = database.db->Write(unlogged(), &batch);
  if (status.ok()) {
    status = database.db->Flush(rocksdb::FlushOptions());
  }
  return status.ok() ? ok_status() : Status(error_of(status, database.path));
}

class View final : public KvReader {
 public:
  View(std::shared_ptr<Database> database, std::string prefix)
      : database_(std::move(database)), prefix_(std::move(prefix)) {
    options_.snapshot = database_->db->GetSnapshot();
  }
  View(const View&) = delete;
  ~View() override { database_->db->ReleaseSnapshot(options_.snapshot); }
  Result<std::optional<std::string>> get(std::string_view key) const override {
    return get_from(*database_, options_, joined(prefix_, key));
  }
  Result<KvPage> scan(std::string_view from, std::string_view to, size_t limit) const override {
    return scan_from(*database_, options_, prefix_, from, to, limit);
  }

 private:
  std::shared_ptr<Database> database_;
  const std::string prefix_;
  rocksdb::ReadOptions options_;
};

class RocksKv final : public Kv {
 public:
  RocksKv(std::shared_ptr<Database> database, u64 group, u32 generation)
      : database_(std::move(database)),
        group_(group),
        generation_(generation),
        prefix_(prefix_of(group, generation)) {}

  Result<std::optional<std::string>> get(std::string_view key) const override {
    return get_from(*database_, cached_only(), joined(prefix_, key));
  }
  Result<KvPage> scan(std::string_view from, std::string_view to, size_t limit) const override {
    return scan_from(*database_, cached_only(), prefix_, from, to, limit);
  }

  Status apply(const KvBatch& batch, MayWait may_wait) override {
    rocksdb::WriteBatch writes;
    for (const auto& [key, value] : batch) {
      const std::string place = joined(prefix_, key);
      const rocksdb::Status added =
          value ? writes.Put(place, slice_of(*value)) : writes.Delete(place);
      CHECK_NOTE(added.ok(), added.ToString());
    }
    rocksdb::WriteOptions options = unlogged();
    options.no_slowdown = may_wait == MayWait::no;
    const rocksdb::Status status = database_->db->Write(options, &writes);
    if (status.ok()) {
      return ok_status();
    }
    if (status.IsNoSpace() && may_wait == MayWait::yes) {
      // It refuses writes after a full disk until it is told to go on.
      REACHED("master: metadata store resumed after a full disk");
      if (const rocksdb::Status resumed = database_->db->Resume(); !resumed.ok()) {
        return error_of(resumed, database_->path);
      }
    }
    return error_of(status, database_->path);
  }

  Task<Status> flush() override {
    auto work = [this]() -> Status {
      const rocksdb::Status status = database_->db->Flush(rocksdb::FlushOptions());
      return status.ok() ? ok_status() : Status(error_of(status, database_->path));
    };
    auto flushed = co_await run_in_background(work);
    co_return flushed;
  }

  std::unique_ptr<KvReplacement> begin_replacement() override;

  std::unique_ptr<KvReader> blocking_view() const override {
    return std::make_unique<View>(database_, prefix_);
  }

  // The last store of a database closes it, unless a view is left.
  Task<void> close() override {
    auto work = [this]() -> Unit {
      database_.reset();
      return Unit{};
    };
    co_await run_in_background(work);
  }

 private:
  class Replacement;
  std::shared_ptr<Database> database_;
  const u64 group_;
  u32 generation_;
  std::string prefix_;
};

class RocksKv::Replacement final : public KvReplacement {
 public:
  explicit Replacement(RocksKv& kv)
      : kv_(kv), generation_(kv.generation_ + 1), prefix_(prefix_of(kv.group_, generation_)) {}
  ~Replacement() override {
    if (!committed_) {
      // What stays if this fails is dropped when the group is opened again.
      rocksdb::WriteBatch batch;
      add_range_removal(batch, prefix_, prefix_of(kv_.group_, generation_ + 1));
      (void)kv_.database_->db->Write(unlogged(), &batch);
    }
  }

  Status add(const KvBatch& batch) override {
    rocksdb::WriteBatch writes;
    for (const auto& [key, value] : batch) {
      if (value.has_value()) {
        const rocksdb::Status added = writes.Put(joined(prefix_, key), slice_of(*value));
        CHECK_NOTE(added.ok(), added.ToString());
      }
    }
    const rocksdb::Status status = kv_.database_->db->Write(unlogged(), &writes);
    return status.ok() ? ok_status() : Status(error_of(status, kv_.database_->path));
  }

  Task<Status> commit() override {
    auto work = [this]() -> Status {
      rocksdb::WriteBatch batch;
      const std::string generation = prefix_of(0, generation_).substr(sizeof(u64));
      const rocksdb::Status added = batch.Put(pointer_key(kv_.group_), generation);
      CHECK_NOTE(added.ok(), added.ToString());
      add_range_removal(batch, prefix_of(kv_.group_, 0), prefix_);
      return write_and_flush(*kv_.database_, batch);
    };
    auto committed = co_await run_in_background(work);
    if (committed.ok()) {
      committed_ = true;
      kv_.generation_ = generation_;
      kv_.prefix_ = prefix_;
    }
    co_return committed;
  }

 private:
  RocksKv& kv_;
  const u32 generation_;
  const std::string prefix_;
  bool committed_ = false;
};

std::unique_ptr<KvReplacement> RocksKv::begin_replacement() {
  return std::make_unique<Replacement>(*this);
}

class Store final : public RocksStore {
 public:
  explicit Store(std::shared_ptr<Database> database) : database_(std::move(database)) {}

  Result<std::unique_ptr<Kv>> group(u64 group) override {
    CHECK(group > kPointers);
    TRY(pointer, get_from(*database_, rocksdb::ReadOptions(), pointer_key(group)));
    u32 generation = 0;
    rocksdb::WriteBatch batch;
    if (!pointer) {
      const rocksdb::Status added =
          batch.Put(pointer_key(group), prefix_of(0, 0).substr(sizeof(u64)));
      CHECK_NOTE(added.ok(), added.ToString());
    } else if (pointer->size() != sizeof(generation)) {
      return Error(Code::kCorrupt, fmt::format("metadata store {}: the record of group {} has {} "
                                               "bytes, not {}",
                                               database_->path, group, pointer->size(),
                                               sizeof(generation)));
    } else {
      for (const char byte : *pointer) {
        generation = (generation << 8) | static_cast<u8>(byte);
      }
    }
    // A replacement that a crash interrupted.
    TRY(leftover, scan_from(*database_, {}, prefix_of(group, generation + 1), "", kKeysEnd, 1));
    if (!leftover.entries.empty()) {
      REACHED("master: an interrupted replacement of a store is dropped");
      add_range_removal(batch, prefix_of(group, generation + 1),
                        prefix_of(group, generation + 2));
    }
    if (batch.Count() > 0) {
      TRY_VOID(write_and_flush(*database_, batch));
    }
    return std::unique_ptr<Kv>(std::make_unique<RocksKv>(database_, group, generation));
  }

  Result<std::vector<u64>> groups() override {
    std::vector<u64> out;
    std::string from;
    for (;;) {
      TRY(page, scan_from(*database_, {}, prefix_of(kPointers, 0), from, kKeysEnd, 1000));
      for (const KvEntry& entry : page.entries) {
        u64 group = 0;
        for (size_t i = 0; i < std::min(entry.key.size(), sizeof(group)); ++i) {
          group = (group << 8) | static_cast<u8>(entry.key[i]);
        }
        out.push_back(group);
      }
      if (!page.more) {
        return out;
      }
      from = page.entries.back().key + '\0';
    }
  }

  Status remove_group(u64 group) override {
    CHECK(group > kPointers);
    rocksdb::WriteBatch batch;
    const rocksdb::Status added = batch.Delete(pointer_key(group));
    CHECK_NOTE(added.ok(), added.ToString());
    add_range_removal(batch, prefix_of(group, 0), prefix_of(group + 1, 0));
    return write_and_flush(*database_, batch);
  }

 private:
  std::shared_ptr<Database> database_;
};

}  // namespace

Result<std::shared_ptr<RocksStore>> open_rocks_store(const std::string& path,
                                                     const RocksKvOptions& options) {
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(db_options(options), path, &db);
  if (!status.ok()) {
    if (status.IsIOError() && status.ToString().find("lock") != std::string::npos) {
      return Error(Code::kInUse, fmt::format("metadata store {}: {}", path, status.ToString()));
    }
    return error_of(status, path);
  }
  auto database = std::make_shared<Database>();
  database->db.reset(db);
  database->path = path;
  return std::shared_ptr<RocksStore>(std::make_shared<Store>(std::move(database)));
}

Result<std::unique_ptr<Kv>> open_rocks_kv(const std::string& path, const RocksKvOptions& options) {
  TRY(store, open_rocks_store(path, options));
  return store->group(1);
}

}  // namespace pangu::master
