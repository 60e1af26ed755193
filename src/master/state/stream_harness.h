#pragma once
#include <map>
#include <memory>
#include <set>

#include "master/state/apply_context.h"
#include "master/state/memory_kv.h"
#include "master/state/orders.h"
#include "master/state/reclaim.h"
#include "master/state/record.pb.h"
#include "master/state/replicas.h"
#include "master/state/settled.h"
#include "master/state/stream.h"
#include "master/state/txn.h"
#include "wire/control.pb.h"
#include "wire/partition.h"
#include "wire/proto.h"

// For tests of a stream group's state: a store, and commands that change it as the state machine
// would, without sessions.
namespace pangu::master::test {

class StreamHarness {
 public:
  explicit StreamHarness(u32 index = 0) {
    record::Meta meta;
    meta.set_kind(pb::GROUP_STREAM);
    meta.set_index(index);
    KvBatch batch;
    batch.emplace(keys::meta(), meta.SerializeAsString());
    CHECK(kv_.apply(batch, MayWait::yes).ok());
  }

  static Uuid device(u32 server) { return {.high = 0xd0, .low = server}; }
  static Location location(u32 server) { return {.server = {server}, .device = device(server)}; }
  static record::Replica replica(u32 server, bool suspect = false) {
    record::Replica out;
    out.set_server(server);
    out.set_device_high(device(server).high);
    out.set_device_low(device(server).low);
    out.set_suspect(suspect);
    return out;
  }
  // Layouts over servers first, first + 1, ...
  static record::Offer offer(u32 chunks, u32 copies_max = 3, u32 copies_min = 2, u32 first = 1) {
    record::Offer out;
    for (u32 i = 0; i < chunks; ++i) {
      record::Layout& layout = *out.add_layouts();
      layout.set_copies_max(copies_max);
      layout.set_copies_min(copies_min);
      for (u32 server = first; server < first + copies_max; ++server) {
        *layout.add_replicas() = replica(server);
      }
    }
    return out;
  }
  static record::Offer no_offer() {
    record::Offer out;
    out.set_error(static_cast<u32>(Code::kNoPlacement));
    out.set_error_text("no server is there");
    return out;
  }

  // A file of the group; the ids of an index grow from 1.
  static u64 file(u64 counter, u32 index = 0) {
    return wire::file_id(index, 0, counter).number;
  }

  // f(Txn&) -> Result<...>; an error leaves nothing behind.
  template <class F>
  auto change(F f) {
    Txn txn(kv_);
    auto result = f(txn);
    if (!result.ok()) {
      txn.rollback();
    }
    CHECK(!txn.failed());
    CHECK(kv_.apply(txn.batch(), MayWait::yes).ok());
    return result;
  }
  template <class F>
  auto query(F f) {
    Txn txn(kv_);
    auto result = f(txn);
    CHECK(!txn.failed());
    return result;
  }
  template <class Handler, class Request>
  auto call(Handler handler, const Request& request, const record::Offer& offer = {}) {
    const ApplyContext context{.index = ++index_, .wall_clock_us = 0, .offer = offer};
    return change([&](Txn& txn) { return handler(txn, context, request); });
  }
  record::Meta meta() {
    return query([](Txn& txn) { return txn.meta(); });
  }
  MemoryKv& kv() { return kv_; }

  Result<pb::OpenForAppendReply> open(u64 file, u32 fresh = 2,
                                      const record::Offer& with = offer(4)) {
    pb::OpenForAppendRequest request;
    request.set_file(file);
    request.set_fresh_chunks(fresh);
    return call(open_for_append, request, with);
  }
  Result<pb::AllocateChunksReply> allocate(u64 file, u32 epoch, u32 count = 1,
                                           const record::Offer& with = offer(4)) {
    pb::AllocateChunksRequest request;
    request.set_file(file);
    request.set_epoch(epoch);
    request.set_count(count);
    return call(allocate_chunks, request, with);
  }
  Code release(u64 file, u32 epoch, u32 sequence) {
    pb::ReleaseChunkRequest request;
    request.set_file(file);
    request.set_epoch(epoch);
    request.set_sequence(sequence);
    return call(release_chunk, request).code();
  }
  Code report(u64 file, u32 epoch, u32 sequence, u64 base, u32 length,
              std::vector<u32> suspects = {}) {
    pb::ReportChunkRequest request;
    request.set_file(file);
    request.set_epoch(epoch);
    request.set_sequence(sequence);
    request.set_base(base);
    request.set_length(length);
    request.mutable_suspect_servers()->Assign(suspects.begin(), suspects.end());
    return call(report_chunk, request).code();
  }
  template <class Request>
  static pb::Decision& decide(Request& request, u32 sequence, u64 base, u32 length) {
    pb::Decision& decision = *request.add_decisions();
    decision.set_sequence(sequence);
    decision.set_dropped(length == 0);
    decision.set_base(base);
    decision.set_length(length);
    return decision;
  }
  Result<pb::GetStreamReply> get(u64 file, u64 from = 0, u32 limit = 0) {
    pb::GetStreamRequest request;
    request.set_file(file);
    request.set_from_offset(from);
    request.set_limit(limit);
    return query([&](Txn& txn) { return get_stream(txn, request); });
  }
  // A file with one settled chunk of `length` bytes on servers first, first + 1, ...; its writer goes
  // on with chunk 2.
  void settled_file(u64 file, u32 length = 100, u32 first = 1) {
    CHECK(open(file, 2, offer(2, 3, 2, first)).ok());
    CHECK(report(file, 1, 1, 0, length) == Code::kOk);
  }

  void remove(u64 file) {
    CHECK(change([&](Txn& txn) {
            remove_file(txn, {file});
            return ok_status();
          }).ok());
  }
  void reclaim_all(u32 budget = 1000) {
    while (meta().reclaims() > 0) {
      CHECK(change([&](Txn& txn) {
              reclaim_files(txn, budget);
              return ok_status();
            }).ok());
    }
  }
  pb::ChunkOrdersRequest orders(u32 server) {
    return query([&](Txn& txn) { return orders_for(txn, {server}, "", 1000).orders; });
  }
  std::optional<SettledChunk> settled(u64 file, u32 sequence) {
    return query([&](Txn& txn) { return find_settled(txn, {file}, sequence); });
  }
  Status change_replicas(u64 file, u32 sequence, u32 version, std::vector<u32> remove,
                         std::vector<u32> add, bool erase = true) {
    record::ChangeReplicas request;
    request.set_file(file);
    request.set_sequence(sequence);
    request.set_version(version);
    for (const u32 server : remove) {
      *request.add_remove() = replica(server);
    }
    for (const u32 server : add) {
      *request.add_add() = replica(server);
    }
    request.set_erase(erase);
    return change([&](Txn& txn) { return master::change_replicas(txn, request); });
  }
  Status mark(u64 file, u32 sequence, u32 server, bool suspect, u32 version = 0) {
    record::MarkReplicas request;
    record::MarkReplicas::One& one = *request.add_marks();
    one.set_file(file);
    one.set_sequence(sequence);
    one.set_version(version);
    *one.mutable_replica() = replica(server, suspect);
    return change([&](Txn& txn) { return mark_replicas(txn, request); });
  }
  Status erase_orphan(u64 file, u32 sequence, u32 server) {
    record::EraseOrphans request;
    request.set_server(server);
    *request.add_chunks() = order_id(file, sequence, server);
    return change([&](Txn& txn) { return erase_orphans(txn, request); });
  }
  static record::OrderId order_id(u64 file, u32 sequence, u32 server) {
    record::OrderId id;
    id.set_file(file);
    id.set_sequence(sequence);
    id.set_device_high(device(server).high);
    id.set_device_low(device(server).low);
    return id;
  }
  // As if every server had done what it was told.
  void carry_out_orders() {
    for (const ServerId server : query([](Txn& txn) { return servers_with_orders(txn); })) {
      record::ConfirmOrders request;
      request.set_server(server.number);
      const pb::ChunkOrdersRequest told = orders(server.number);
      for (const auto& each : told.delete_chunks()) {
        *request.add_deleted() =
            order_id(each.chunk().file(), each.chunk().sequence(), server.number);
      }
      for (const auto& each : told.finalize_chunks()) {
        *request.add_finalized() =
            order_id(each.chunk().file(), each.chunk().sequence(), server.number);
      }
      CHECK(change([&](Txn& txn) { return confirm_orders(txn, request); }).ok());
    }
  }

  // "": tables P and N are what the chunks' records say; else what differs.
  std::string check_tables() {
    return query([](Txn& txn) {
      Expected expected;
      for (const char table : {'S', 'H'}) {
        for (const KvEntry& row : all(txn, table)) {
          const FileId id{keys::decode_u64(std::string_view(row.key).substr(1))};
          record::Stream stream;
          CHECK(txn.get(row.key, stream));
          for (const record::Chunk& chunk : stream.tail()) {
            if (chunk.state() == static_cast<u32>(pb::CHUNK_SEALED)) {
              expected.add(id, stream.copies_max(), chunk);
            }
          }
          for (const KvEntry& chunk_row : txn.scan_prefix(keys::chunks_of(id), ~u32{0}).entries) {
            record::Chunk chunk;
            CHECK(txn.get(chunk_row.key, chunk));
            expected.add(id, stream.copies_max(), chunk);
          }
        }
      }
      return expected.compare(all(txn, 'P'), 'P') + expected.compare(all(txn, 'N'), 'N') +
             (txn.meta().short_chunks() == expected.shorts ? "" : "the count of N differs");
    });
  }

 private:
  struct Expected {
    std::map<std::string, std::string> rows;
    u64 shorts = 0;
    void add(FileId file, u32 wanted, const record::Chunk& chunk) {
      u32 good = 0;
      for (const record::Replica& each : chunk.replicas()) {
        good += each.suspect() ? 0 : 1;
        rows[keys::placed(location_of(each), {.file = file, .sequence = chunk.sequence()})] =
            keys::encode_standing({.version = chunk.version(),
                                   .length = chunk.length(),
                                   .suspect = each.suspect()});
      }
      if (good < wanted) {
        ++shorts;
        rows[keys::short_chunk(good, file, chunk.sequence())] = "";
      }
    }
    std::string compare(const std::vector<KvEntry>& found, char table) const {
      std::map<std::string, std::string> is;
      for (const KvEntry& row : found) {
        is.emplace(row.key, row.value);
      }
      std::map<std::string, std::string> should;
      for (const auto& row : rows) {
        if (row.first[0] == table) {
          should.insert(row);
        }
      }
      return is == should ? "" : fmt::format("table {}: {} rows, not {}; ", table, is.size(),
                                             should.size());
    }
  };
  static std::vector<KvEntry> all(Txn& txn, char table) {
    return txn.scan_prefix(std::string(1, table), 1'000'000).entries;
  }

  MemoryKv kv_;
  u64 index_ = 0;
};

}  // namespace pangu::master::test
