#include <algorithm>
#include <fmt/core.h>

#include "base/log.h"
#include "base/reached.h"
#include "master/server/master.h"
#include "master/state/partition_map.h"

// What a master does by itself: it keeps its partition map fresh, tells its stream groups of the
// servers, and gives leaderships to whom they belong.
namespace pangu::master {
namespace {

constexpr Duration kMapPeriod = seconds(2);
constexpr Duration kPatience = seconds(2);
constexpr Duration kServersAtLeast = milliseconds(50);
constexpr Duration kBalancePeriod = seconds(1);
constexpr Duration kTransferPatience = milliseconds(500);
constexpr Duration kTransferRetry = seconds(30);
// A member that has not answered for longer is no leader to hand over to.
constexpr Duration kResponsive = milliseconds(200);

}  // namespace

void Master::start_chores() {
  gate_.spawn(reactor_, "master map", TaskClass::control, map_loop());
  gate_.spawn(reactor_, "master servers", TaskClass::control, servers_loop());
  gate_.spawn(reactor_, "master balance", TaskClass::background, balance_loop());
}

// ---- the partition map ----

void Master::learn_addresses() {
  for (const pb::MasterNode& master : map_.get().masters()) {
    if (const auto address = map_.address(master.node())) {
      host_->set_address(raft::NodeId{master.node()}, *address);
    }
  }
}

// With a copy of the root here the map is at hand; else it is asked for.
Task<void> Master::map_loop() {
  while (!closing_) {
    Group* const root = group(wire::kRootGroup);
    if (root == nullptr) {
      co_await ask_for_map();
      co_await spread_map();
      co_await closing_list_.wait(reactor_.now() + kMapPeriod);
      continue;
    }
    co_await adopt_map();
    co_await spread_map();
    if (!closing_ && group(wire::kRootGroup) == root) {
      co_await root->news().wait(reactor_.now() + kMapPeriod);
    }
  }
}

Task<void> Master::adopt_map() {
  Group* const root = group(wire::kRootGroup);
  if (root == nullptr ||
      (founded_ && root->meta().map_version() <= map_.get().version())) {
    co_return;
  }
  auto query = [](Txn& txn) { return partition_map(txn); };
  auto found = co_await root->query(query);
  if (!found.ok()) {
    co_return;
  }
  if (found->masters().empty()) {
    co_await found_map(*root);
    co_return;
  }
  founded_ = true;
  if (map_.adopt(std::move(*found))) {
    learn_addresses();
  }
}

Task<bool> Master::ask_for_map() {
  const pb::PartitionMap known = map_.get();
  for (const pb::MasterNode& master : known.masters()) {
    const auto address = env::parse_address(master.address());
    if (!address.ok() || master.node() == node().number || closing_) {
      continue;
    }
    auto answer = co_await calls_->call_process(*address, wire::Method::get_partition_map,
                                                pb::GetPartitionMapRequest().SerializeAsString(),
                                                reactor_.now() + kPatience);
    pb::GetPartitionMapReply reply;
    if (answer.ok() && reply.ParseFromString(*answer)) {
      if (map_.adopt(std::move(*reply.mutable_map()))) {
        learn_addresses();
      }
      co_return true;
    }
  }
  co_return false;
}

// The first leader of the root writes down who the masters are and where the groups began.
Task<void> Master::found_map(Group& root) {
  if (!root.check_leader().ok()) {
    co_return;
  }
  pb::ChangeMapRequest request;
  request.mutable_id()->mutable_client()->set_high(reactor_.env().random());
  request.mutable_id()->mutable_client()->set_low(reactor_.env().random());
  request.mutable_id()->set_sequence(1);
  request.mutable_id()->set_first_unanswered(1);
  *request.mutable_found() = map_.get();
  auto written = co_await root.execute(static_cast<u32>(wire::Method::change_map),
                                       request.SerializeAsString(), {},
                                       reactor_.now() + kPatience);
  static_cast<void>(written);  // else it is tried again
}

// Namespace groups keep a copy: freeing a tree needs to know whose its directories are.
Task<void> Master::spread_map() {
  const std::vector<u64> ids = groups();
  for (const u64 id : ids) {
    Group* const group = this->group(id);
    if (group == nullptr || group->kind() != pb::GROUP_NAMESPACE || !group->check_leader().ok() ||
        group->meta().map_version() >= map_.get().version()) {
      continue;
    }
    auto told = co_await group->execute(static_cast<u32>(InternalMethod::update_map),
                                        map_.get().SerializeAsString(), {},
                                        reactor_.now() + kPatience);
    static_cast<void>(told);  // else it is told again
  }
}

// ---- the servers ----

Task<void> Master::servers_loop() {
  while (!closing_) {
    const bool needed = std::any_of(groups_.begin(), groups_.end(), [](const auto& item) {
      Group& group = item.second->group();
      return group.kind() == pb::GROUP_STREAM && group.check_leader().ok();
    });
    if (needed) {
      co_await fetch_servers();
    }
    if (!closing_) {
      co_await closing_list_.wait(reactor_.now() + options_.server_table_period);
    }
  }
}

Task<bool> Master::fetch_servers() {
  if (fetching_servers_) {
    const bool woken = co_await server_news_.wait(reactor_.now() + kPatience);
    co_return woken;
  }
  fetching_servers_ = true;
  auto table = co_await calls_->ask<pb::ServerTableReply>(
      wire::kRootGroup, wire::Method::server_table, pb::ServerTableRequest(),
      reactor_.now() + kPatience);
  fetching_servers_ = false;
  servers_fetched_ = reactor_.now();
  bool news = false;
  if (table.ok()) {
    for (const auto& [id, hosted] : groups_) {
      if (hosted->group().kind() == pb::GROUP_STREAM) {
        const bool newer = hosted->group().servers().adopt(*table, reactor_.now());
        news = news || newer;
        if (newer) {
          hosted->group().news().wake_all();
        }
      }
    }
  }
  server_news_.wake_all();
  co_return news;
}

Task<bool> Master::refresh(Group&) {
  if (reactor_.now() - servers_fetched_ < kServersAtLeast && !fetching_servers_) {
    co_await closing_list_.wait(servers_fetched_ + kServersAtLeast);
  }
  if (closing_) {
    co_return false;
  }
  co_await fetch_servers();
  co_return true;
}

// ---- who leads ----

// Leaders are spread: each group has a member that should lead it, in the order of the groups. The
// leader hands over to it, once that one has everything and answers.
Task<void> Master::balance_loop() {
  while (!closing_) {
    co_await closing_list_.wait(reactor_.now() + kBalancePeriod);
    const std::vector<u64> ids = groups();
    for (const u64 id : ids) {
      Group* const group = this->group(id);
      if (group == nullptr || closing_) {
        continue;
      }
      if (!group->check_leader().ok()) {
        led_since_.erase(id);
        continue;
      }
      const auto [since, is_new] = led_since_.emplace(id, reactor_.now());
      if (!is_new && reactor_.now() - since->second >= options_.balance_after) {
        co_await balance(*group);
      }
    }
  }
}

Task<void> Master::balance(Group& group) {
  const u64 id = group.id().value();
  raft::Replica& replica = group.replica();
  const std::vector<raft::NodeId> voters = replica.configuration().voters;
  const raft::NodeId wanted = voters[group_position(id) % voters.size()];
  if (wanted == node()) {
    co_return;
  }
  const auto& progress = replica.core()->progress();
  const auto found = progress.find(wanted);
  if (found == progress.end() || found->second.match() < replica.commit_index() ||
      reactor_.now() - found->second.last_reply() > kResponsive) {
    co_return;
  }
  led_since_[id] = reactor_.now() + kTransferRetry;  // not again soon, if it fails
  const Status moved = co_await replica.transfer(wanted, reactor_.now() + kTransferPatience);
  if (!moved.ok()) {
    REACHED("master: a leadership was not taken over");
    LOG_WARN("group {}: master {} did not take the leadership over: {}", id, wanted.number,
             moved.error().message());
  }
}

}  // namespace pangu::master
