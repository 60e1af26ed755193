#pragma once
#include <optional>
#include <string>

#include "master/state/keys.h"
#include "master/state/kv.h"

namespace google::protobuf {
class MessageLite;
}
namespace pangu::master::record {
class Meta;
}

// What one command or one query sees of the store: the store, and over it what the command has
// changed so far. Nothing reaches the store before the caller applies batch().
//
// A read that the store cannot answer (kBusy: not in memory; or a fault) is remembered and from then
// on everything reads as absent: whoever made the Txn looks at failed() at the end and, if it is
// set, throws the outcome away. So code in between deals only with what the state says.
namespace pangu::master {

class Txn {
 public:
  explicit Txn(const KvReader& kv);
  Txn(const Txn&) = delete;
  ~Txn();

  std::optional<std::string> get(const std::string& key);
  bool has(const std::string& key) { return get(key).has_value(); }
  // False: absent (or failed). A value that does not parse fails the Txn with kCorrupt.
  bool get(const std::string& key, google::protobuf::MessageLite& into);
  void put(std::string key, std::string value);
  void put(std::string key, const google::protobuf::MessageLite& value);
  void erase(std::string key);
  // The first `limit` entries of [from, to), changes of this Txn included.
  KvPage scan(const std::string& from, const std::string& to, size_t limit);
  KvPage scan_prefix(const std::string& prefix, size_t limit) {
    return scan(prefix, prefix_end(prefix), limit);
  }

  // Read on first use, written back by batch().
  record::Meta& meta();

  // Forgets every change made so far, also of meta().
  void rollback();
  bool failed() const { return failure_.has_value(); }
  // REQUIRES: failed()
  const Error& failure() const { return *failure_; }
  // REQUIRES: !failed()
  KvBatch batch();

 private:
  void fail(Error error);

  const KvReader& kv_;
  KvBatch changes_;
  std::unique_ptr<record::Meta> meta_;
  std::string meta_before_;
  std::optional<Error> failure_;
};

}  // namespace pangu::master
