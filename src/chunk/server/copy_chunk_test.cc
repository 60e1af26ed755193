#include <gtest/gtest.h>

#include "chunk/server/server_rig.h"

// Copies of settled chunks from one simulated chunkserver to another, whatever happens meanwhile: a
// copy is whole and exact, or it is no replica.
namespace pangu::chunk::test {
namespace {

constexpr u32 kLength = 3'000'000;

// A copy that is under way while the test goes on.
struct Pending {
  std::optional<Result<pb::CopyChunkReply>> reply;
  static Task<void> run(Rig& rig, size_t to, pb::CopyChunkRequest request, Duration timeout,
                        Pending& out) {
    auto reply = co_await rig.ask<pb::CopyChunkReply>(to, wire::Method::copy_chunk,
                                                      std::move(request), timeout);
    out.reply = std::move(reply);
  }
  void begin(Rig& rig, size_t to, pb::CopyChunkRequest request, Duration timeout = seconds(60)) {
    reply.reset();
    rig.caller->reactor->spawn("copy", TaskClass::repair,
                               run(rig, to, std::move(request), timeout, *this));
  }
  Code wait(Rig& rig) {
    CHECK(rig.world.run_until([&] { return reply.has_value(); }, rig.world.now() + seconds(900)));
    return reply->code();
  }
};

// Nothing is left of it but what refuses its owner.
void expect_nothing_left(Rig& rig, size_t server) {
  ChunkHost& host = *rig.servers[server];
  EXPECT_TRUE(host.store().unfinished_copies().empty());
  EXPECT_EQ(host.store().contents().chunks, 0u);
}

TEST(CopyChunk, IsExact) {
  Rig rig(31, 2);
  const ChunkId id = in_group(5);
  rig.make(0, id, kLength);
  const pb::CopyChunkRequest request = rig.copy_request(0, 1, id, kLength, 1, 2);
  const auto copied = rig.copy(1, request);
  ASSERT_TRUE(copied.ok()) << copied.error().message();
  EXPECT_GE(copied->bytes(), kLength);
  rig.expect_replica(1, id, kLength);
  const ChunkInfo from = *rig.servers[0]->store().stat(id);
  ChunkInfo to = *rig.servers[1]->store().stat(id);
  EXPECT_EQ(to.version, 2u);
  EXPECT_EQ(to.unit_count, from.unit_count);
  EXPECT_EQ(to.owner_epoch, from.owner_epoch);
  EXPECT_EQ(to.base, from.base);
  EXPECT_EQ(rig.servers[1]->counter("copies"), 1u);
  EXPECT_GE(rig.servers[1]->counter("copied_bytes"), kLength);
  // Again: it is there. With a later version an order to delete the earlier one is void.
  EXPECT_EQ(rig.copy(1, request)->bytes(), 0u);
  EXPECT_EQ(rig.copy(1, rig.copy_request(0, 1, id, kLength, 1, 4))->bytes(), 0u);
  for (int life = 0; life < 2; ++life) {
    to = *rig.servers[1]->store().stat(id);
    EXPECT_EQ(to.version, 4u);
    rig.expect_replica(1, id, kLength);
    rig.servers[1]->crash(Crash::power);
    rig.servers[1]->restart();
    rig.wait_serving(1);
  }
  // Other bytes.
  EXPECT_EQ(rig.copy(1, rig.copy_request(0, 1, id, kLength - 1)).code(), Code::kAlreadyExists);
  pb::CopyChunkRequest elsewhere = request;
  elsewhere.set_base(5);
  EXPECT_EQ(rig.copy(1, elsewhere).code(), Code::kAlreadyExists);
  // A copy of the copy.
  EXPECT_TRUE(rig.wait(*rig.servers[0]->reactor, rig.servers[0]->store().remove(id)).code ==
              Code::kOk);
  EXPECT_TRUE(rig.copy(0, rig.copy_request(1, 0, id, kLength)).ok());
  rig.expect_replica(0, id, kLength);
}

// Every source has more than was decided: a writer's last bytes that nobody acknowledged.
TEST(CopyChunk, EndsWhereTheChunkEnds) {
  Rig rig(32, 2);
  TestWriter writer = rig.make(0, in_group(5), kLength, false);
  for (const u32 length : {1u, 4048u, 4049u, 100'000u, kLength - 1, kLength}) {
    ASSERT_TRUE(rig.copy(1, rig.copy_request(0, 1, writer.chunk, length)).ok()) << length;
    rig.expect_replica(1, writer.chunk, length);
    ChunkStore& store = rig.servers[1]->store();
    ASSERT_EQ(rig.wait(*rig.servers[1]->reactor, store.remove(writer.chunk)).code, Code::kOk);
  }
}

TEST(CopyChunk, WhatIsAskedForMustMakeSense) {
  Rig rig(33, 2);
  const ChunkId id = in_group(5);
  const pb::CopyChunkRequest good = rig.copy_request(0, 1, id, 100);
  pb::CopyChunkRequest bad = good;
  bad.set_length(0);
  EXPECT_EQ(rig.copy(1, bad).code(), Code::kInvalidArgument);
  bad = good;
  bad.set_source_address("nowhere");
  EXPECT_EQ(rig.copy(1, bad).code(), Code::kInvalidArgument);
  bad = good;
  bad.set_group(kGroup + 1);
  EXPECT_EQ(rig.copy(1, bad).code(), Code::kInvalidArgument);
  expect_nothing_left(rig, 1);
}

TEST(CopyChunk, SourcesThatAreNotGood) {
  Rig rig(34, 3);
  const ChunkId id = in_group(5);
  EXPECT_EQ(rig.copy(1, rig.copy_request(0, 1, id, kLength)).code(), Code::kNotHere);
  expect_nothing_left(rig, 1);
  rig.make(0, id, kLength - 100'000, false);
  EXPECT_EQ(rig.copy(1, rig.copy_request(0, 1, id, kLength)).code(), Code::kShort);
  expect_nothing_left(rig, 1);
  // One that is itself only half a copy.
  rig.make(2, id, kLength);
  pb::CopyChunkRequest slow = rig.copy_request(2, 1, id, kLength);
  slow.set_bytes_per_second(500'000);
  Pending pending;
  pending.begin(rig, 1, slow);
  rig.world.run_for(seconds(3));
  ChunkStore& target = rig.servers[1]->store();
  ASSERT_TRUE(target.stat(id)->copying && target.stat(id)->length > 1'000'000);
  rig.wait(*rig.servers[0]->reactor, rig.servers[0]->store().remove(id));
  EXPECT_EQ(rig.copy(0, rig.copy_request(1, 0, id, kLength)).code(), Code::kNotHere);
  rig.expect_no_replica(1, id, kLength);
  EXPECT_EQ(pending.wait(rig), Code::kOk);
  // Nobody is there, or somebody else.
  pb::CopyChunkRequest wrong = rig.copy_request(1, 0, id, kLength);
  wrong.set_source_server(3);
  EXPECT_EQ(rig.copy(0, wrong).code(), Code::kUnavailable);
  rig.servers[1]->crash(Crash::power);
  const Instant start = rig.world.now();
  EXPECT_EQ(rig.copy(0, rig.copy_request(2, 0, in_group(77), 10)).code(), Code::kNotHere);
  wrong = rig.copy_request(2, 0, id, kLength);
  wrong.set_source_address(env::to_string(rig.servers[1]->node.address(7200)));
  EXPECT_EQ(rig.copy(0, wrong).code(), Code::kUnavailable);
  EXPECT_LT((rig.world.now() - start).seconds(), 45);
  EXPECT_EQ(rig.copy(0, rig.copy_request(2, 0, id, kLength)).code(), Code::kOk);
  rig.expect_replica(0, id, kLength);
}

TEST(CopyChunk, AFlippedBitIsNeverCopied) {
  Rig rig(35, 3);
  const ChunkId id = in_group(5);
  rig.make(0, id, kLength);
  const u32 units = rig.servers[0]->store().stat(id)->unit_count;
  for (const u32 unit : {0u, units / 2, units - 1}) {
    rig.wait(*rig.servers[1]->reactor, rig.servers[1]->store().remove(id));
    ASSERT_TRUE(rig.copy(1, rig.copy_request(0, 1, id, kLength)).ok());
    rig.flip_bit(1, id, unit);
    EXPECT_EQ(rig.copy(2, rig.copy_request(1, 2, id, kLength)).code(), Code::kCorrupt) << unit;
    rig.expect_no_replica(2, id, kLength);
    EXPECT_TRUE(rig.servers[1]->store().stat(id)->damaged);
    // Another replica: what was good of the first is not read again.
    const auto copied = rig.copy(2, rig.copy_request(0, 2, id, kLength));
    ASSERT_TRUE(copied.ok()) << copied.error().message();
    if (unit > 0) {
      EXPECT_LT(copied->bytes(), kLength);
    }
    rig.expect_replica(2, id, kLength);
    rig.wait(*rig.servers[2]->reactor, rig.servers[2]->store().remove(id));
  }
}

TEST(CopyChunk, GoesOnAfterACrash) {
  for (const Crash how : {Crash::process, Crash::power}) {
    Rig rig(how == Crash::power ? 36 : 37, 2);
    const ChunkId id = in_group(5);
    rig.make(0, id, kLength);
    pb::CopyChunkRequest request = rig.copy_request(0, 1, id, kLength);
    request.set_bytes_per_second(1'000'000);
    u64 got = 0;
    for (int i = 0; i < 4; ++i) {
      Pending pending;
      pending.begin(rig, 1, request);
      rig.world.run_for(milliseconds(static_cast<i64>(rig.world.prng().between(100, 900))));
      ASSERT_FALSE(pending.reply.has_value());
      rig.servers[1]->crash(how);
      rig.servers[1]->restart();
      rig.wait_serving(1);
      EXPECT_NE(pending.wait(rig), Code::kOk);
      rig.expect_no_replica(1, id, kLength);
      const auto info = rig.servers[1]->store().stat(id);
      const u64 now = info.ok() ? info->length : 0;
      EXPECT_TRUE(how == Crash::power || now >= got);
      got = now;
    }
    EXPECT_GT(got, 0u);
    EXPECT_EQ(rig.servers[1]->store().unfinished_copies(), std::vector{id});
    request.set_bytes_per_second(0);
    const auto copied = rig.copy(1, request);
    ASSERT_TRUE(copied.ok());
    EXPECT_LT(copied->bytes(), kLength);
    EXPECT_EQ(rig.servers[1]->counter("copies_resumed"), 1u);
    rig.expect_replica(1, id, kLength);
  }
}

TEST(CopyChunk, TheSourceMayDieMeanwhile) {
  Rig rig(38, 3);
  const ChunkId id = in_group(5);
  rig.make(0, id, kLength);
  rig.make(2, id, kLength);
  pb::CopyChunkRequest request = rig.copy_request(0, 1, id, kLength);
  request.set_bytes_per_second(1'000'000);
  Pending pending;
  pending.begin(rig, 1, request);
  rig.world.run_for(seconds(1));
  rig.servers[0]->crash(Crash::process);
  EXPECT_EQ(pending.wait(rig), Code::kUnavailable);
  rig.expect_no_replica(1, id, kLength);
  // The runs of the other one were cut elsewhere: it begins again, from the start.
  EXPECT_EQ(rig.copy(1, rig.copy_request(2, 1, id, kLength)).code(), Code::kOk);
  rig.expect_replica(1, id, kLength);
}

TEST(CopyChunk, AFullDeviceKeepsNothingOfIt) {
  Rig rig(39, 1);
  rig.add_server({rig.masters[0]->address()}, 8 * kMiB);
  std::vector<ChunkId> ids;
  for (u64 i = 1; i <= 6; ++i) {
    ids.push_back(in_group(i));
    rig.make(0, ids.back(), kLength);
  }
  size_t copies = 0;
  for (const ChunkId& id : ids) {
    const Code code = rig.copy(1, rig.copy_request(0, 1, id, kLength)).code();
    if (code == Code::kOk) {
      rig.expect_replica(1, id, kLength);
      ++copies;
    } else {
      EXPECT_EQ(code, Code::kNoSpace);
      rig.expect_no_replica(1, id, kLength);
    }
  }
  EXPECT_GT(copies, 0u);
  EXPECT_LT(copies, ids.size());
  EXPECT_TRUE(rig.servers[1]->store().unfinished_copies().empty());
  EXPECT_EQ(rig.servers[1]->store().contents().chunks, copies);
  // Two at once, each of which would fit alone.
  ChunkStore& store = rig.servers[1]->store();
  rig.wait(*rig.servers[1]->reactor, store.remove(ids[0]));
  std::vector<Pending> pending(2);
  for (size_t i = 0; i < 2; ++i) {
    pb::CopyChunkRequest request = rig.copy_request(0, 1, ids[4 + i], kLength);
    request.set_bytes_per_second(2'000'000);
    pending[i].begin(rig, 1, request);
  }
  size_t done = 0;
  for (Pending& each : pending) {
    const Code code = each.wait(rig);
    EXPECT_TRUE(code == Code::kOk || code == Code::kNoSpace) << code_name(code);
    done += code == Code::kOk ? 1 : 0;
  }
  EXPECT_LE(done, 1u);
  EXPECT_TRUE(store.unfinished_copies().empty());
}

TEST(CopyChunk, IsNotMadeOverWhatIsThere) {
  Rig rig(40, 2);
  const ChunkId id = in_group(5);
  rig.make(0, id, kLength);
  rig.make(1, id, 100'000, false);
  EXPECT_EQ(rig.copy(1, rig.copy_request(0, 1, id, kLength)).code(), Code::kAlreadyExists);
  EXPECT_EQ(rig.servers[1]->store().stat(id)->length, 100'000u);
  // Damaged, and known to be.
  rig.wait(*rig.servers[1]->reactor, rig.servers[1]->store().remove(id));
  ASSERT_TRUE(rig.copy(1, rig.copy_request(0, 1, id, kLength, 1, 1)).ok());
  rig.flip_bit(1, id, 3);
  EXPECT_TRUE(
      rig.wait(*rig.servers[1]->reactor, rig.servers[1]->store().verify(id, 0, 1000)).ok());
  EXPECT_EQ(rig.copy(1, rig.copy_request(0, 1, id, kLength)).code(), Code::kAlreadyExists);
  rig.wait(*rig.servers[1]->reactor, rig.servers[1]->store().remove(id, 1));
  EXPECT_EQ(rig.copy(1, rig.copy_request(0, 1, id, kLength)).code(), Code::kOk);
  rig.expect_replica(1, id, kLength);
}

TEST(CopyChunk, KeepsItsPace) {
  Rig rig(41, 2);
  const ChunkId id = in_group(5);
  rig.make(0, id, kLength);
  for (const u64 rate : {300'000u, 3'000'000u}) {
    pb::CopyChunkRequest request = rig.copy_request(0, 1, id, kLength);
    request.set_bytes_per_second(rate);
    const Instant start = rig.world.now();
    const auto copied = rig.copy(1, request);
    ASSERT_TRUE(copied.ok());
    const double took = (rig.world.now() - start).seconds();
    const double right = static_cast<double>(copied->bytes()) / static_cast<double>(rate);
    EXPECT_GT(took, right * 0.8);
    EXPECT_LT(took, right * 1.1 + 0.1);
    rig.wait(*rig.servers[1]->reactor, rig.servers[1]->store().remove(id));
  }
}

// The same copy twice, another one to the same place, and more than are made at once.
TEST(CopyChunk, SeveralAtOnce) {
  Rig rig(42, 2);
  std::vector<Pending> pending(80);
  for (u64 i = 0; i < 70; ++i) {
    rig.make(0, in_group(i + 1), 100'000);
  }
  const auto request_of = [&](u64 i) {
    pb::CopyChunkRequest out = rig.copy_request(0, 1, in_group(i + 1), 100'000);
    out.set_bytes_per_second(100'000);
    return out;
  };
  for (u64 i = 0; i < 70; ++i) {
    pending[i].begin(rig, 1, request_of(i), seconds(300));
  }
  rig.world.run_for(milliseconds(100));
  pending[70].begin(rig, 1, request_of(0), seconds(300));
  pb::CopyChunkRequest another = request_of(1);
  another.set_length(5000);
  pending[71].begin(rig, 1, another);
  EXPECT_EQ(pending[71].wait(rig), Code::kBusy);
  EXPECT_EQ(pending[70].wait(rig), Code::kOk);
  size_t busy = 0;
  for (u64 i = 0; i < 70; ++i) {
    const Code code = pending[i].wait(rig);
    busy += code == Code::kBusy ? 1 : 0;
    EXPECT_TRUE(code == Code::kOk || code == Code::kBusy) << code_name(code);
  }
  EXPECT_EQ(busy, 70 - Copier::kAskedMax);
  EXPECT_EQ(rig.servers[1]->counter("copies"), Copier::kAskedMax);
}

TEST(CopyChunk, EndsWithItsLeader) {
  Rig rig(43, 2);
  const ChunkId id = in_group(5);
  rig.make(0, id, kLength);
  pb::CopyChunkRequest request = rig.copy_request(0, 1, id, kLength, 5);
  request.set_bytes_per_second(500'000);
  Pending old_leader;
  old_leader.begin(rig, 1, request);
  rig.world.run_for(seconds(1));
  // The next leader wants the same: it goes on.
  request.set_term(6);
  Pending next_leader;
  next_leader.begin(rig, 1, request);
  rig.world.run_for(seconds(1));
  EXPECT_FALSE(old_leader.reply || next_leader.reply);
  // The one after it does not.
  pb::ChunkOrdersRequest orders;
  orders.set_group(kGroup);
  orders.set_term(7);
  ASSERT_TRUE(rig.order(1, orders).ok());
  EXPECT_EQ(next_leader.wait(rig), Code::kStale);
  EXPECT_EQ(old_leader.wait(rig), Code::kStale);
  rig.expect_no_replica(1, id, kLength);
  // It finds what is left in its list, and may delete it.
  pb::ListChunksRequest listing;
  listing.set_group(kGroup);
  listing.set_term(7);
  wire::set(*listing.mutable_device(), rig.servers[1]->device());
  const auto listed = rig.list(1, listing);
  ASSERT_EQ(listed->chunks_size(), 1);
  EXPECT_TRUE(listed->chunks(0).copying());
  EXPECT_FALSE(listed->chunks(0).finalized());
  pb::ChunkOnDevice& order = *orders.add_delete_chunks();
  *order.mutable_chunk() = listed->chunks(0).chunk();
  *order.mutable_device() = listing.device();
  EXPECT_EQ(rig.order(1, orders)->deleted_size(), 1);
  expect_nothing_left(rig, 1);
}

TEST(CopyChunk, DeletedMeanwhile) {
  Rig rig(44, 2);
  const ChunkId id = in_group(5);
  rig.make(0, id, kLength);
  pb::CopyChunkRequest request = rig.copy_request(0, 1, id, kLength, 5);
  request.set_bytes_per_second(500'000);
  Pending pending;
  pending.begin(rig, 1, request);
  rig.world.run_for(seconds(2));
  pb::ChunkOrdersRequest orders;
  orders.set_group(kGroup);
  orders.set_term(5);
  pb::ChunkOnDevice& order = *orders.add_delete_chunks();
  wire::set(*order.mutable_chunk(), id);
  wire::set(*order.mutable_device(), rig.servers[1]->device());
  EXPECT_EQ(rig.order(1, orders)->deleted_size(), 1);
  EXPECT_EQ(pending.wait(rig), Code::kCancelled);
  expect_nothing_left(rig, 1);
}

TEST(CopyChunk, DeadlinesAndStopsLeaveAnUnfinishedCopy) {
  Rig rig(45, 2);
  const ChunkId id = in_group(5);
  rig.make(0, id, kLength);
  pb::CopyChunkRequest request = rig.copy_request(0, 1, id, kLength);
  request.set_bytes_per_second(500'000);
  EXPECT_EQ(rig.copy(1, request, seconds(2)).code(), Code::kTimeout);
  rig.world.run_for(seconds(1));
  EXPECT_EQ(rig.servers[1]->counter("copies_running"), 0u);
  Pending pending;
  pending.begin(rig, 1, request);
  rig.world.run_for(seconds(1));
  ChunkHost& host = *rig.servers[1];
  const Instant start = rig.world.now();
  rig.run(*host.reactor, host.server->stop());
  EXPECT_LT((rig.world.now() - start).seconds(), 1);
  EXPECT_NE(pending.wait(rig), Code::kOk);
  host.crash(Crash::process);
  host.restart();
  rig.wait_serving(1);
  rig.expect_no_replica(1, id, kLength);
  request.set_bytes_per_second(0);
  EXPECT_LT(rig.copy(1, request)->bytes(), kLength);
  rig.expect_replica(1, id, kLength);
}

TEST(CopyChunk, AbandonedOnesAreRemoved) {
  Rig rig(46, 2);
  const ChunkId id = in_group(5);
  rig.make(0, id, kLength);
  pb::CopyChunkRequest request = rig.copy_request(0, 1, id, kLength);
  request.set_bytes_per_second(500'000);
  EXPECT_EQ(rig.copy(1, request, seconds(2)).code(), Code::kTimeout);
  rig.world.run_for(seconds(500));
  EXPECT_EQ(rig.servers[1]->store().unfinished_copies().size(), 1u);
  rig.servers[1]->crash(Crash::power);
  rig.servers[1]->restart();
  rig.wait_serving(1);
  rig.world.run_for(seconds(500));
  EXPECT_EQ(rig.servers[1]->store().unfinished_copies().size(), 1u);
  rig.world.run_for(seconds(200));
  expect_nothing_left(rig, 1);
  EXPECT_EQ(rig.servers[1]->counter("copies_removed"), 1u);
  EXPECT_TRUE(rig.copy(1, rig.copy_request(0, 1, id, kLength)).ok());
  rig.expect_replica(1, id, kLength);
}

// Copies to servers that die at any moment, deletes of them, and orders to delete that come late: a
// copy that was confirmed and not deleted is exact, and nothing else passes for a replica.
struct Storm {
  static constexpr u64 kChunks = 8;
  using Place = std::pair<size_t, u64>;  // server, chunk
  Rig rig;
  Prng prng;
  std::map<u64, u32> lengths;
  std::map<Place, u32> versions;  // the last one that was asked for
  std::map<Place, u32> there;     // with the version that was confirmed
  std::array<Pending, 2> pending;

  explicit Storm(u64 seed) : rig(100 + seed, 3), prng(seed) {
    for (u64 i = 1; i <= kChunks; ++i) {
      lengths[i] = static_cast<u32>(prng.between(1, 1'500'000));
      rig.make(0, in_group(i), lengths[i]);
    }
  }
  pb::CopyChunkRequest request_to(const Place& to) {
    const bool from_copy = there.contains({3 - to.first, to.second}) && prng.chance(0.5);
    pb::CopyChunkRequest out = rig.copy_request(from_copy ? 3 - to.first : 0, to.first,
                                                in_group(to.second), lengths[to.second], 1,
                                                versions[to]);
    out.set_bytes_per_second(prng.chance(0.7) ? 4'000'000 : 0);
    return out;
  }
  Place any_place() { return {prng.between(1, 2), prng.between(1, kChunks)}; }
  // With a version: at most that one.
  void remove(const Place& at, u32 version) {
    pb::ChunkOrdersRequest orders;
    orders.set_group(kGroup);
    orders.set_term(1);
    pb::ChunkOnDevice& order = *orders.add_delete_chunks();
    wire::set(*order.mutable_chunk(), in_group(at.second));
    wire::set(*order.mutable_device(), rig.servers[at.first]->device());
    order.set_version(version);
    const auto done = rig.order(at.first, orders);
    ASSERT_TRUE(done.ok());
    EXPECT_EQ(done->deleted_size(), 1);
  }
  void round() {
    std::array<Place, 2> asked = {any_place(), any_place()};
    std::array<u32, 2> version{};
    for (size_t i = 0; i < pending.size(); ++i) {
      if (!there.contains(asked[i])) {
        versions[asked[i]] = std::max(versions[asked[i]] + (prng.chance(0.3) ? 1 : 0), 2u);
      }
      version[i] = versions[asked[i]];
      pending[i].begin(rig, asked[i].first, request_to(asked[i]), seconds(20));
    }
    rig.world.run_for(microseconds(static_cast<i64>(prng.below(400'000))));
    if (prng.chance(0.7)) {
      const size_t victim = prng.below(3);
      rig.servers[victim]->crash(prng.chance(0.5) ? Crash::power : Crash::process);
      rig.servers[victim]->restart();
      rig.wait_serving(victim);
    }
    for (size_t i = 0; i < pending.size(); ++i) {
      if (pending[i].wait(rig) == Code::kOk) {
        u32& confirmed = there[asked[i]];
        confirmed = std::max(confirmed, version[i]);
      }
    }
  }
  void check() {
    for (const auto& [place, version] : versions) {
      const auto info = rig.servers[place.first]->store().stat(in_group(place.second));
      if (info.ok() && info->finalized) {
        EXPECT_GE(info->version, there[place]);
        there[place] = info->version;  // or the answer was lost
      }
      if (!there.contains(place)) {
        rig.expect_no_replica(place.first, in_group(place.second), lengths[place.second]);
      }
    }
    const Place some = any_place();
    if (there.contains(some)) {
      remove(some, there[some] - 1);
      rig.expect_replica(some.first, in_group(some.second), lengths[some.second]);
    }
    const Place other = any_place();
    remove(other, prng.chance(0.5) ? versions[other] : 0);
    there.erase(other);
    rig.expect_no_replica(other.first, in_group(other.second), lengths[other.second]);
  }
};

TEST(CopyChunk, Storm) {
  for (u64 seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(seed);
    Storm storm(seed);
    for (int round = 0; round < 40 && !testing::Test::HasFailure(); ++round) {
      storm.round();
      storm.check();
    }
    for (const auto& [place, version] : storm.there) {
      storm.rig.expect_replica(place.first, in_group(place.second), storm.lengths[place.second]);
    }
  }
}

}  // namespace
}  // namespace pangu::chunk::test
