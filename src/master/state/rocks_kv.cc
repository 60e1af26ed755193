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

Result<std::optional<std::string>> get_from(rocksdb::DB& db, const rocksdb::ReadOptions& options,
                                            std::string_view key, const std::string& path) {
  std::optional<std::string> value(std::in_place);
  const rocksdb::Status status = db.Get(options, slice_of(key), &*value);
  if (status.IsNotFound()) {
    value.reset();
  } else if (!status.ok()) {
    return error_of(status, path);
  }
  return value;
}

Result<KvPage> scan_from(rocksdb::DB& db, rocksdb::ReadOptions options, std::string_view from,
                         std::string_view to, size_t limit, const std::string& path) {
  const rocksdb::Slice upper = slice_of(to);
  options.iterate_upper_bound = &upper;
  const std::unique_ptr<rocksdb::Iterator> it(db.NewIterator(options));
  KvPage page;
  for (it->Seek(slice_of(from)); it->Valid(); it->Next()) {
    if (page.entries.size() == limit) {
      page.more = true;
      break;
    }
    page.entries.push_back({it->key().ToString(), it->value().ToString()});
  }
  if (!it->status().ok()) {
    return error_of(it->status(), path);
  }
  return page;
}

rocksdb::ReadOptions cached_only() {
  rocksdb::ReadOptions options;
  options.read_tier = rocksdb::kBlockCacheTier;
  return options;
}

class View final : public KvReader {
 public:
  View(rocksdb::DB& db, const std::string& path) : db_(db), path_(path) {
    options_.snapshot = db.GetSnapshot();
  }
  View(const View&) = delete;
  ~View() override { db_.ReleaseSnapshot(options_.snapshot); }
  Result<std::optional<std::string>> get(std::string_view key) const override {
    return get_from(db_, options_, key, path_);
  }
  Result<KvPage> scan(std::string_view from, std::string_view to, size_t limit) const override {
    return scan_from(db_, options_, from, to, limit, path_);
  }

 private:
  rocksdb::DB& db_;
  const std::string& path_;
  rocksdb::ReadOptions options_;
};

class RocksKv final : public Kv {
 public:
  RocksKv(std::unique_ptr<rocksdb::DB> db, std::string path)
      : db_(std::move(db)), path_(std::move(path)) {}

  Result<std::optional<std::string>> get(std::string_view key) const override {
    return get_from(*db_, cached_only(), key, path_);
  }
  Result<KvPage> scan(std::string_view from, std::string_view to, size_t limit) const override {
    return scan_from(*db_, cached_only(), from, to, limit, path_);
  }

  Status apply(const KvBatch& batch, MayWait may_wait) override {
    rocksdb::WriteBatch writes;
    for (const auto& [key, value] : batch) {
      const rocksdb::Status added = value ? writes.Put(slice_of(key), slice_of(*value))
                                          : writes.Delete(slice_of(key));
      CHECK_NOTE(added.ok(), added.ToString());
    }
    rocksdb::WriteOptions options;
    options.disableWAL = true;
    options.no_slowdown = may_wait == MayWait::no;
    const rocksdb::Status status = db_->Write(options, &writes);
    if (status.ok()) {
      return ok_status();
    }
    if (status.IsNoSpace() && may_wait == MayWait::yes) {
      // It refuses writes after a full disk until it is told to go on.
      REACHED("master: metadata store resumed after a full disk");
      if (const rocksdb::Status resumed = db_->Resume(); !resumed.ok()) {
        return error_of(resumed, path_);
      }
    }
    return error_of(status, path_);
  }

  Task<Status> flush() override {
    auto work = [this]() -> Status {
      const rocksdb::Status status = db_->Flush(rocksdb::FlushOptions());
      return status.ok() ? ok_status() : Status(error_of(status, path_));
    };
    auto flushed = co_await run_in_background(work);
    co_return flushed;
  }

  std::unique_ptr<KvReader> blocking_view() const override {
    return std::make_unique<View>(*db_, path_);
  }

  Task<void> close() override {
    auto work = [this]() -> Unit {
      const rocksdb::Status status = db_->Close();
      static_cast<void>(status);  // nothing that matters is left to be written: see flush()
      db_.reset();
      return Unit{};
    };
    co_await run_in_background(work);
  }

 private:
  std::unique_ptr<rocksdb::DB> db_;
  std::string path_;
};

}  // namespace

Result<std::unique_ptr<Kv>> open_rocks_kv(const std::string& path, const RocksKvOptions& options) {
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(db_options(options), path, &db);
  if (!status.ok()) {
    if (status.IsIOError() && status.ToString().find("lock") != std::string::npos) {
      return Error(Code::kInUse, fmt::format("metadata store {}: {}", path, status.ToString()));
    }
    return error_of(status, path);
  }
  return std::unique_ptr<Kv>(std::make_unique<RocksKv>(std::unique_ptr<rocksdb::DB>(db), path));
}

}  // namespace pangu::master
