#include "master/state/txn.h"

#include <fmt/core.h>

#include "master/state/record.pb.h"

namespace pangu::master {

Txn::Txn(const KvReader& kv) : kv_(kv) {}
Txn::~Txn() = default;

void Txn::fail(Error error) {
  if (!failure_) {
    failure_.emplace(std::move(error));
  }
}

std::optional<std::string> Txn::get(const std::string& key) {
  if (failure_) {
    return std::nullopt;
  }
  if (const auto changed = changes_.find(key); changed != changes_.end()) {
    return changed->second;
  }
  auto value = kv_.get(key);
  if (!value.ok()) {
    fail(std::move(value).error());
    return std::nullopt;
  }
  return std::move(*value);
}

bool Txn::get(const std::string& key, google::protobuf::MessageLite& into) {
  const std::optional<std::string> value = get(key);
  if (!value) {
    return false;
  }
  if (!into.ParseFromString(*value)) {
    fail(Error(Code::kCorrupt, fmt::format("metadata store: a record of table {} does not parse",
                                           key.substr(0, 1))));
    return false;
  }
  return true;
}

void Txn::put(std::string key, std::string value) {
  changes_.insert_or_assign(std::move(key), std::move(value));
}

void Txn::put(std::string key, const google::protobuf::MessageLite& value) {
  put(std::move(key), value.SerializeAsString());
}

void Txn::erase(std::string key) { changes_.insert_or_assign(std::move(key), std::nullopt); }

KvPage Txn::scan(const std::string& from, const std::string& to, size_t limit) {
  KvPage out;
  if (failure_) {
    return out;
  }
  // Each change of the range can hide one stored entry.
  const auto first = changes_.lower_bound(from);
  const auto last = changes_.lower_bound(to);
  const size_t hidden = static_cast<size_t>(std::distance(first, last));
  auto stored = kv_.scan(from, to, limit + hidden + 1);
  if (!stored.ok()) {
    fail(std::move(stored).error());
    return out;
  }
  auto change = first;
  auto entry = stored->entries.begin();
  const auto take = [&](KvEntry next) {
    out.more = out.entries.size() == limit;
    if (!out.more) {
      out.entries.push_back(std::move(next));
    }
  };
  while (!out.more && (change != last || entry != stored->entries.end())) {
    const bool use_change =
        change != last && (entry == stored->entries.end() || change->first <= entry->key);
    if (!use_change) {
      take(std::move(*entry++));
      continue;
    }
    if (entry != stored->entries.end() && entry->key == change->first) {
      ++entry;
    }
    if (change->second) {
      take({change->first, *change->second});
    }
    ++change;
  }
  return out;
}

record::Meta& Txn::meta() {
  if (!meta_) {
    meta_ = std::make_unique<record::Meta>();
    meta_before_ = get(keys::meta()).value_or("");
    if (!meta_->ParseFromString(meta_before_)) {
      fail(Error(Code::kCorrupt, "metadata store: its first record does not parse"));
    }
  }
  return *meta_;
}

void Txn::rollback() {
  changes_.clear();
  if (meta_ && !meta_->ParseFromString(meta_before_)) {
    fail(Error(Code::kCorrupt, "metadata store: its first record does not parse"));
  }
}

KvBatch Txn::batch() {
  CHECK(!failed());
  if (meta_) {
    put(keys::meta(), *meta_);
  }
  return std::move(changes_);
}

}  // namespace pangu::master
