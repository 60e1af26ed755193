#include <gtest/gtest.h>

#include <set>

#include "chunk/server/server_rig.h"
#include "chunk/store/changes.h"

// Orders and lists, as leaders of stream groups send and ask for them.
namespace pangu::chunk::test {
namespace {

pb::ChunkOrdersRequest orders_of(u64 term, u64 group = kGroup) {
  pb::ChunkOrdersRequest out;
  out.set_group(group);
  out.set_term(term);
  return out;
}
void add_delete(pb::ChunkOrdersRequest& orders, const ChunkId& id, const Uuid& device,
                u32 version = 0) {
  pb::ChunkOnDevice& order = *orders.add_delete_chunks();
  wire::set(*order.mutable_chunk(), id);
  wire::set(*order.mutable_device(), device);
  order.set_version(version);
}
void add_finalize(pb::ChunkOrdersRequest& orders, const ChunkId& id, const Uuid& device,
                  u32 length, u32 version) {
  pb::FinalizeOrder& order = *orders.add_finalize_chunks();
  wire::set(*order.mutable_chunk(), id);
  wire::set(*order.mutable_device(), device);
  order.set_length(length);
  order.set_version(version);
}

TEST(ChunkOrders, AreCarriedOutAndConfirmed) {
  Rig rig(21);
  ChunkHost& host = *rig.servers[0];
  pb::ChunkOrdersRequest orders = orders_of(4);
  for (u64 i = 1; i <= 60; ++i) {
    rig.make(0, in_group(i), 5000, i <= 20);
    if (i <= 20) {
      add_delete(orders, in_group(i), host.device());
    } else if (i <= 40) {
      add_finalize(orders, in_group(i), host.device(), i % 2 == 0 ? 5000 : 6000, 3);
    }
  }
  add_delete(orders, in_group(1000), host.device());
  for (int again = 0; again < 2; ++again) {
    const auto done = rig.order(0, orders);
    ASSERT_TRUE(done.ok());
    EXPECT_EQ(done->deleted_size(), 21) << "also what was never there";
    EXPECT_EQ(done->finalized_size(), 20) << "a short replica is not this order's business";
    for (u64 i = 1; i <= 60; ++i) {
      const auto info = host.store().stat(in_group(i));
      EXPECT_EQ(info.ok() && info->exists, i > 20);
      EXPECT_EQ(info.ok() && info->finalized, i > 20 && i <= 40 && i % 2 == 0) << i;
    }
    if (again == 0) {
      host.crash(Crash::power);
      host.restart();
      rig.wait_serving(0);
    }
  }
  EXPECT_EQ(host.counter("orders_deleted"), 21u);
  EXPECT_EQ(host.counter("orders_finalized"), 20u);
}

TEST(ChunkOrders, ADeposedLeaderDoesNothing) {
  Rig rig(22);
  ChunkHost& host = *rig.servers[0];
  rig.make(0, in_group(1), 5000);
  ASSERT_TRUE(rig.order(0, orders_of(7)).ok());
  pb::ChunkOrdersRequest old = orders_of(6);
  add_delete(old, in_group(1), host.device());
  pb::ListChunksRequest listing;
  listing.set_group(kGroup);
  listing.set_term(6);
  wire::set(*listing.mutable_device(), host.device());
  for (int life = 0; life < 3; ++life) {
    EXPECT_EQ(rig.order(0, old).code(), Code::kStale);
    EXPECT_EQ(rig.list(0, listing).code(), Code::kStale);
    EXPECT_EQ(rig.copy(0, rig.copy_request(0, 0, in_group(9), 10, 6)).code(), Code::kStale);
    EXPECT_TRUE(host.store().stat(in_group(1))->exists);
    EXPECT_GE(host.counter("stale_leaders_refused"), 3u);
    EXPECT_TRUE(rig.order(0, orders_of(1, kGroup + 1)).ok()) << "each group for itself";
    host.crash(life == 0 ? Crash::process : Crash::power);
    host.restart();
    rig.wait_serving(0);
  }
  EXPECT_TRUE(rig.order(0, orders_of(7)).ok());
  old.set_term(8);
  EXPECT_EQ(rig.order(0, old)->deleted_size(), 1);
}

// Many groups get new leaders at once, as when a master dies.
TEST(ChunkOrders, ManyTermsShareTheirWrites) {
  Rig rig(23);
  std::vector<std::optional<Result<pb::ChunkOrdersReply>>> replies(100);
  size_t finished = 0;
  struct Ask {
    static Task<void> one(Rig& rig, u64 i, std::optional<Result<pb::ChunkOrdersReply>>& into,
                          size_t& finished) {
      into = co_await rig.ask<pb::ChunkOrdersReply>(
          0, wire::Method::chunk_orders, orders_of(5, wire::kFirstStreamGroup + i));
      ++finished;
    }
  };
  for (u64 i = 0; i < replies.size(); ++i) {
    rig.caller->reactor->spawn("ask", TaskClass::control, Ask::one(rig, i, replies[i], finished));
  }
  const Instant start = rig.world.now();
  ASSERT_TRUE(rig.world.run_until([&] { return finished == replies.size(); },
                                  start + seconds(10)));
  for (const auto& reply : replies) {
    EXPECT_TRUE(reply->ok());
  }
  rig.servers[0]->crash(Crash::power);
  rig.servers[0]->restart();
  rig.wait_serving(0);
  for (u64 i = 0; i < replies.size(); ++i) {
    EXPECT_EQ(rig.order(0, orders_of(4, wire::kFirstStreamGroup + i)).code(), Code::kStale);
  }
}

TEST(ChunkOrders, OthersChunksAreNotTouched) {
  Rig rig(24);
  ChunkHost& host = *rig.servers[0];
  const ChunkId others = in_group(1, 1, kGroup + 1);
  rig.make(0, others, 5000, false);
  pb::ChunkOrdersRequest orders = orders_of(4);
  add_delete(orders, others, host.device());
  EXPECT_EQ(rig.order(0, orders).code(), Code::kInvalidArgument);
  orders = orders_of(4);
  add_finalize(orders, others, host.device(), 100, 3);
  EXPECT_EQ(rig.order(0, orders).code(), Code::kInvalidArgument);
  EXPECT_EQ(rig.order(0, orders_of(4, wire::kRootGroup)).code(), Code::kInvalidArgument);
  EXPECT_EQ(rig.order(0, orders_of(4, wire::kFirstStreamGroup + wire::kPartitionsMax)).code(),
            Code::kInvalidArgument);
  EXPECT_EQ(host.store().stat(others)->length, 5000u);
}

TEST(ChunkOrders, TombstonesAreAskedAboutAndForgotten) {
  Rig rig(25);
  ChunkHost& host = *rig.servers[0];
  for (u64 i = 1; i <= 100; ++i) {
    rig.make(0, in_group(i), 1000);
    pb::ChunkOrdersRequest orders = orders_of(4);
    add_delete(orders, in_group(i), host.device());
    ASSERT_TRUE(rig.order(0, orders).ok());
  }
  EXPECT_EQ(rig.order(0, orders_of(1, kGroup + 1))->dead_from_size(), 0);
  auto reply = rig.order(0, orders_of(4));
  ASSERT_EQ(reply->dead_from_size(), 1);
  EXPECT_EQ(wire::get(reply->dead_from(0).chunk()), in_group(1));
  pb::ChunkOrdersRequest orders = orders_of(4);
  pb::DeadChunks& dead = *orders.add_dead();
  *dead.mutable_device() = reply->dead_from(0).device();
  *dead.mutable_from() = reply->dead_from(0).chunk();
  wire::set(*dead.mutable_until(), in_group(101, 0));
  ASSERT_TRUE(rig.order(0, orders).ok());
  rig.world.run_for(seconds(1));
  EXPECT_EQ(host.store().remembered().tombstones, 0u);
  EXPECT_EQ(rig.order(0, orders_of(4))->dead_from_size(), 0);
}

struct Lister {
  Rig& rig;
  u32 limit = 7;
  u64 group = kGroup;
  u64 change = 0;
  u64 pages = 0;
  bool changes_only = false;

  std::map<ChunkId, pb::HeldChunk> all(u64 changed_since = 0,
                                       const std::function<void()>& meanwhile = {}) {
    std::map<ChunkId, pb::HeldChunk> out;
    pb::ListChunksRequest request;
    request.set_group(group);
    request.set_term(1);
    request.set_limit(limit);
    request.set_changed_since(changed_since);
    wire::set(*request.mutable_device(), rig.servers[0]->device());
    for (bool first = true;; first = false) {
      const auto reply = rig.list(0, request);
      CHECK_NOTE(reply.ok(), reply.ok() ? "" : reply.error().message());
      ++pages;
      if (first) {
        change = reply->change();
        changes_only = reply->changes_only();
      }
      EXPECT_EQ(reply->changes_only(), changes_only);
      EXPECT_LE(static_cast<u32>(reply->chunks_size()), limit == 0 ? 1000 : limit);
      for (const pb::HeldChunk& held : reply->chunks()) {
        const ChunkId id = wire::get(held.chunk());
        EXPECT_TRUE(out.empty() || out.rbegin()->first < id) << "in order, each once";
        EXPECT_EQ(wire::stream_group_of(id.file), group);
        out[id] = held;
      }
      if (!reply->more()) {
        return out;
      }
      *request.mutable_after() = reply->chunks(reply->chunks_size() - 1).chunk();
      if (meanwhile) {
        meanwhile();
      }
    }
  }
};

TEST(ListChunks, AllInOrderPageByPage) {
  Rig rig(26);
  for (u64 i = 1; i <= 50; ++i) {
    rig.make(0, in_group(i * 7 % 51, static_cast<u32>(i)), 1000 + static_cast<u32>(i), i % 2 == 0);
    rig.make(0, in_group(i, 1, kGroup + 1), 500);
  }
  Lister lister{.rig = rig};
  const auto held = lister.all();
  EXPECT_EQ(lister.pages, 8u);
  ASSERT_EQ(held.size(), 50u);
  for (const auto& [id, chunk] : held) {
    EXPECT_EQ(chunk.length(), 1000 + id.sequence);
    EXPECT_EQ(chunk.finalized(), id.sequence % 2 == 0);
    EXPECT_EQ(chunk.version(), chunk.finalized() ? 1u : 0u);
    EXPECT_FALSE(chunk.damaged() || chunk.gone() || chunk.copying());
  }
  lister.limit = 0;
  EXPECT_EQ(lister.all().size(), 50u);
  lister.group = kGroup + 1;
  EXPECT_EQ(lister.all().size(), 50u);
  lister.group = kGroup + 2;
  EXPECT_TRUE(lister.all().empty());
  // A part of them.
  pb::ListChunksRequest part;
  part.set_group(kGroup);
  part.set_term(1);
  wire::set(*part.mutable_device(), rig.servers[0]->device());
  wire::set(*part.mutable_after(), in_group(10, 0xffffffff));
  wire::set(*part.mutable_until(), in_group(20, 0));
  EXPECT_EQ(rig.list(0, part)->chunks_size(), 9);
  wire::set(*part.mutable_after(), in_group(1, 1, kGroup + 1));
  EXPECT_EQ(rig.list(0, part)->chunks_size(), 0);
  wire::set(*part.mutable_until(), ChunkId{.file = {~u64{0}}});
  EXPECT_EQ(rig.list(0, part)->chunks_size(), 0);
}

// Whoever is there all the time is listed once; of whoever came or went meanwhile the changes tell.
TEST(ListChunks, WhileChunksComeAndGo) {
  Rig rig(27);
  std::set<ChunkId> there;
  const auto make = [&](u64 counter) {
    rig.make(0, in_group(counter), 100);
    there.insert(in_group(counter));
  };
  const auto remove = [&](const ChunkId& id) {
    pb::ChunkOrdersRequest orders = orders_of(1);
    add_delete(orders, id, rig.servers[0]->device());
    CHECK(rig.order(0, orders).ok());
    there.erase(id);
  };
  for (u64 i = 0; i < 60; ++i) {
    make(1000 + i * 10);
  }
  const std::set<ChunkId> before = there;
  u64 next = 1;
  Lister lister{.rig = rig, .limit = 9};
  auto seen = lister.all(0, [&] {
    for (int i = 0; i < 3; ++i) {
      make(1001 + next * 37 % 60 * 10 + next / 60);
      ++next;
    }
    remove(*std::next(there.begin(), static_cast<i64>(rig.world.prng().below(there.size()))));
  });
  for (const ChunkId& id : before) {
    EXPECT_TRUE(seen.contains(id) || !there.contains(id));
  }
  for (const auto& [id, held] : lister.all(lister.change)) {
    if (held.gone()) {
      seen.erase(id);
    } else {
      seen[id] = held;
    }
  }
  EXPECT_TRUE(lister.changes_only);
  std::set<ChunkId> known;
  for (const auto& [id, held] : seen) {
    known.insert(id);
  }
  EXPECT_EQ(known, there);
  EXPECT_TRUE(lister.all(lister.change).empty());
}

TEST(ListChunks, ChangesThatAreTooOldMeanAll) {
  Rig rig(28);
  ChunkHost& host = *rig.servers[0];
  rig.make(0, in_group(1), 100);
  Lister lister{.rig = rig, .limit = 500};
  lister.all();
  const u64 start = lister.change;
  ASSERT_NE(start, 0u);
  rig.make(0, in_group(2), 100);
  EXPECT_EQ(lister.all(start).size(), 1u);
  EXPECT_TRUE(lister.changes_only);
  // Made and removed until the ring has gone round; half of it another group's.
  for (u64 i = 0; i < Changes::kKeptMax / 4; ++i) {
    const ChunkId id = in_group(100 + i, 1, i % 2 == 0 ? kGroup : kGroup + 1);
    rig.make(0, id, 10);
    EXPECT_EQ(rig.wait(*host.reactor, host.store().remove(id)).code, Code::kOk);
  }
  EXPECT_EQ(lister.all(start).size(), 1 + Changes::kKeptMax / 8);
  EXPECT_TRUE(lister.changes_only);
  for (u64 i = 0; i < Changes::kKeptMax / 4; ++i) {
    const ChunkId id = in_group(9000 + i, 1, kGroup + 1);
    rig.make(0, id, 10);
    EXPECT_EQ(rig.wait(*host.reactor, host.store().remove(id)).code, Code::kOk);
  }
  EXPECT_EQ(lister.all(start).size(), 2u);
  EXPECT_FALSE(lister.changes_only) << "all that is there";
  const u64 last = lister.change;
  EXPECT_TRUE(lister.all(last).empty());
  EXPECT_TRUE(lister.changes_only);
  // Another life knows nothing of the numbers of the one before.
  for (const Crash how : {Crash::process, Crash::power}) {
    host.crash(how);
    host.restart();
    rig.wait_serving(0);
    EXPECT_EQ(lister.all(last).size(), 2u);
    EXPECT_FALSE(lister.changes_only);
  }
}

TEST(ListChunks, FoundDamageIsAChange) {
  Rig rig(29);
  ChunkHost& host = *rig.servers[0];
  for (u64 i = 1; i <= 5; ++i) {
    rig.make(0, in_group(i), 50'000);
  }
  Lister lister{.rig = rig};
  lister.all();
  const u64 start = lister.change;
  rig.flip_bit(0, in_group(3), 4);
  EXPECT_TRUE(lister.all(start).empty());
  const ReadArgs read{.chunk = in_group(3), .offset = 0, .length = 50'000,
                      .settled_length = 50'000};
  for (int i = 0; i < 30; ++i) {
    ReadArgs at = read;
    at.offset = static_cast<u32>(i) * 1600;
    rig.wait(*host.reactor, host.store().read(at));
  }
  const auto changed = lister.all(start);
  ASSERT_EQ(changed.size(), 1u);
  EXPECT_EQ(changed.begin()->first, in_group(3));
  EXPECT_TRUE(changed.begin()->second.damaged());
  EXPECT_TRUE(lister.all()[in_group(3)].damaged());
}

}  // namespace
}  // namespace pangu::chunk::test
