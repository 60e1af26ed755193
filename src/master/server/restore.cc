#include "master/server/restore.h"

#include <algorithm>
#include <fmt/core.h>

#include "master/state/keys.h"
#include "master/state/record.pb.h"
#include "runtime/await.h"
#include "wire/partition.h"

namespace pangu::master {
namespace {

constexpr size_t kBatch = 1000;

// Masters and members of a restored cluster are those that begin it: the map is founded anew.
Status forget_masters(std::string& value) {
  record::Map record;
  pb::PartitionMap map;
  if (!record.ParseFromString(value) || !map.ParseFromString(record.map())) {
    return Error(Code::kCorrupt, "the partition map of the backup does not parse");
  }
  map.clear_masters();
  for (pb::GroupInfo& group : *map.mutable_groups()) {
    group.clear_nodes();
  }
  record.set_map(map.SerializeAsString());
  value = record.SerializeAsString();
  return ok_status();
}

// The new group's log begins at 0, and with it the state.
Status begin_anew(GroupContent& content) {
  for (KvEntry& entry : content.entries) {
    if (entry.key == keys::partition_map()) {
      TRY_VOID(forget_masters(entry.value));
    }
  }
  for (KvEntry& entry : content.entries) {
    if (entry.key != keys::meta()) {
      continue;
    }
    record::Meta meta;
    if (!meta.ParseFromString(entry.value)) {
      break;
    }
    meta.set_applied_index(0);
    entry.value = meta.SerializeAsString();
    return ok_status();
  }
  return Error(Code::kCorrupt, fmt::format("group {} of the backup has no first record",
                                           content.group));
}

Task<Status> fill(Kv& kv, const GroupContent& content) {
  const std::unique_ptr<KvReplacement> replacement = kv.begin_replacement();
  for (size_t at = 0; at < content.entries.size(); at += kBatch) {
    KvBatch batch;
    for (size_t i = at; i < std::min(at + kBatch, content.entries.size()); ++i) {
      batch.emplace(content.entries[i].key, content.entries[i].value);
    }
    CO_TRY_VOID(replacement->add(batch));
  }
  auto committed = co_await replacement->commit();
  CO_TRY_VOID(std::move(committed));
  co_await kv.close();
  co_return ok_status();
}

}  // namespace

Task<Status> restore_master(env::Env& env, std::string directory, Founding founding,
                            std::vector<GroupContent> contents) {
  CO_TRY_VOID(init_identity(env, directory, founding));
  CO_TRY_VOID(env.files().make_directories(directory + "/kv"));
  CO_TRY(store, open_rocks_store(directory + "/kv", {}));
  for (GroupContent& content : contents) {
    const std::vector<raft::NodeId> founders = founders_of(founding, content.group);
    if (std::find(founders.begin(), founders.end(), founding.node) == founders.end()) {
      continue;
    }
    CO_TRY_VOID(begin_anew(content));
    CO_TRY(kv, store->group(content.group));
    auto filled = co_await fill(*kv, content);
    CO_TRY_VOID(std::move(filled));
  }
  co_return ok_status();
}

}  // namespace pangu::master
