#pragma once
#include <memory>

#include "base/bytes.h"
#include "master/state/memory_kv.h"
#include "master/state/namespace.h"
#include "master/state/record.pb.h"
#include "master/state/state_machine.h"
#include "master/state/txn.h"
#include "wire/control.pb.h"
#include "wire/partition.h"
#include "wire/proto.h"

// For the tests of the state machine: a store, a log position, and a client that counts its
// requests.
namespace pangu::master::test {

inline Uuid device_of(u32 server) { return {.high = 0xd0, .low = server}; }

// Layouts over servers 1, 2, 3 (device_of each).
inline record::Offer offer(u32 chunks, u32 copies_max = 3, u32 copies_min = 2) {
  record::Offer out;
  for (u32 i = 0; i < chunks; ++i) {
    record::Layout& layout = *out.add_layouts();
    layout.set_copies_max(copies_max);
    layout.set_copies_min(copies_min);
    for (u32 server = 1; server <= copies_max; ++server) {
      record::Replica& replica = *layout.add_replicas();
      replica.set_server(server);
      replica.set_device_high(device_of(server).high);
      replica.set_device_low(device_of(server).low);
    }
  }
  return out;
}
inline record::Offer no_offer() {
  record::Offer out;
  out.set_error(static_cast<u32>(Code::kNoPlacement));
  out.set_error_text("no server is there");
  return out;
}

class Harness {
 public:
  // One group of a cluster that has one of each kind.
  explicit Harness(pb::GroupKind kind, const StateOptions& options = {})
      : Harness(Genesis{.cluster = {.high = 0xc1, .low = 0xc2}, .kind = kind}, options) {}
  explicit Harness(Genesis genesis, const StateOptions& options = {})
      : machine_(options), genesis_(std::move(genesis)) {
    restart_with(std::make_unique<MemoryKv>());
  }
  // Goes on with an empty store, from index 0.
  void restart_with(std::unique_ptr<Kv> kv) {
    kv_ = std::move(kv);
    CHECK(kv_->apply(StateMachine::genesis(genesis_), MayWait::yes).ok());
    index_ = 0;
  }

  Kv& kv() { return *kv_; }
  u64 index() const { return index_; }
  record::Meta meta() { return *StateMachine::meta_of(*kv_); }
  std::unique_ptr<Kv> take_kv() { return std::move(kv_); }
  // Every command applied so far, for applying it elsewhere.
  const std::vector<record::Command>& commands() const { return commands_; }

  record::Outcome apply(const record::Command& command) {
    commands_.push_back(command);
    auto prepared = machine_.prepare(++index_, command, *kv_);
    CHECK_NOTE(prepared.ok(), prepared.ok() ? "" : prepared.error().message());
    CHECK(kv_->apply(prepared->batch, MayWait::yes).ok());
    last_ = *prepared;
    return std::move(prepared->outcome);
  }
  const Prepared& last() const { return last_; }

  template <class Request>
  record::Outcome apply(u32 method, const Request& request, const record::Offer& with = {}) {
    record::Command command;
    command.set_method(method);
    command.set_request(request.SerializeAsString());
    command.set_wall_clock_us(1'000'000 + static_cast<i64>(index_));
    *command.mutable_offer() = with;
    return apply(command);
  }

  // A request of the harness's client; gets the next request id if it has none.
  template <class Reply, class Request>
  Result<Reply> call(wire::Method method, Request request, const record::Offer& with = {}) {
    if (!request.has_id()) {
      ++sequence_;
      set_id(request, {.high = 7, .low = 7}, sequence_, sequence_);
    }
    const record::Outcome outcome = apply(static_cast<u32>(method), request, with);
    if (outcome.code() != 0) {
      return Error(code_from_number(static_cast<u16>(outcome.code())), outcome.text());
    }
    Reply reply;
    CHECK(reply.ParseFromString(outcome.reply()));
    return reply;
  }
  template <class Request>
  static void set_id(Request& request, const Uuid& client, u64 sequence, u64 first_unanswered) {
    wire::set(*request.mutable_id()->mutable_client(), client);
    request.mutable_id()->set_sequence(sequence);
    request.mutable_id()->set_first_unanswered(first_unanswered);
  }
  template <class Request>
  record::Outcome internal(InternalMethod method, const Request& request) {
    return apply(static_cast<u32>(method), request);
  }
  // Frees what was removed, all of it.
  void reclaim_all(u32 budget = kReclaimBudgetMax) {
    while (meta().reclaims() > 0) {
      record::Reclaim request;
      request.set_budget(budget);
      internal(InternalMethod::reclaim, request);
    }
  }

  // A query: f(Txn&) -> Result<...>.
  template <class F>
  auto query(F f) {
    Txn txn(*kv_);
    auto result = f(txn);
    CHECK(!txn.failed());
    return result;
  }

  // Shorthands: files of the root directory of a namespace group.
  static pb::Place in_root(const std::string& name) {
    pb::Place place;
    place.set_directory(keys::kRootDirectory);
    place.set_name(name);
    place.add_chain(keys::kRootDirectory);
    return place;
  }
  Result<pb::CreateFileReply> create(const std::string& name, bool exclusive = false) {
    pb::CreateFileRequest request;
    *request.mutable_place() = in_root(name);
    request.set_exclusive(exclusive);
    return call<pb::CreateFileReply>(wire::Method::create_file, request);
  }
  static record::Way way_to_root() {
    record::Way way;
    way.add_chain(keys::kRootDirectory);
    return way;
  }
  static record::Part make_directory_part(const std::string& name) {
    record::Part part;
    *part.add_ways() = way_to_root();
    const u64 id = wire::directory_id(0, keys::kRootDirectory, name, 0);
    record::AddEntry& entry = *part.add_steps()->mutable_add_entry();
    entry.set_directory(keys::kRootDirectory);
    entry.set_name(name);
    entry.mutable_entry()->set_type(pb::ENTRY_DIRECTORY);
    entry.mutable_entry()->set_id(id);
    record::AddDirectory& directory = *part.add_steps()->mutable_add_directory();
    directory.set_id(id);
    directory.set_parent(keys::kRootDirectory);
    directory.set_name(name);
    return part;
  }
  // A change in this group alone, as its leader would propose it.
  record::Outcome commit(const record::Part& part) {
    record::Commit request;
    request.set_client_high(7);
    request.set_client_low(7);
    request.set_client_sequence(++sequence_);
    request.set_first_unanswered(sequence_);
    *request.mutable_part() = part;
    return internal(InternalMethod::commit, request);
  }
  // A file of the root directory.
  Code remove(const std::string& name) {
    const auto entry = query([&](Txn& txn) { return find_entry(txn, keys::kRootDirectory, name); });
    if (!entry) {
      return Code::kNotFound;
    }
    record::Part part;
    *part.add_ways() = way_to_root();
    record::EraseEntry& erase = *part.add_steps()->mutable_erase_entry();
    erase.set_directory(keys::kRootDirectory);
    erase.set_name(name);
    erase.set_id(entry->id());
    erase.set_bury(true);
    return code_from_number(static_cast<u16>(commit(part).code()));
  }
  // Of a root group: registers servers 1..count, each with device_of(it).
  void add_servers(u32 count) {
    for (u32 server = 1; server <= count; ++server) {
      pb::RegisterServerRequest request;
      wire::set(*request.mutable_identity(), Uuid{.high = 0x1d, .low = server});
      request.set_address("host" + std::to_string(server) + ":7200");
      request.set_rack("r" + std::to_string(server));
      wire::set(*request.add_devices()->mutable_device(), device_of(server));
      const auto reply = call<pb::RegisterServerReply>(wire::Method::register_server, request);
      CHECK(reply.ok() && reply->server() == server);
    }
  }

 private:
  StateMachine machine_;
  Genesis genesis_;
  std::unique_ptr<Kv> kv_;
  u64 index_ = 0;
  u64 sequence_ = 0;
  std::vector<record::Command> commands_;
  Prepared last_;
};

}  // namespace pangu::master::test
