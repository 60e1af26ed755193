#include "master/state/stream.h"

#include <gtest/gtest.h>

#include "master/state/limits.h"
#include "master/state/stream_harness.h"

namespace pangu::master {
namespace {

using test::StreamHarness;

// One file, on servers 1 to 4.
class StreamTest : public testing::Test {
 protected:
  Result<pb::OpenForAppendReply> open(u32 fresh = 2,
                                      const record::Offer& offer = StreamHarness::offer(4)) {
    return h.open(file, fresh, offer);
  }
  Result<pb::AllocateChunksReply> allocate(u32 epoch, u32 count = 1,
                                           const record::Offer& offer = StreamHarness::offer(4)) {
    return h.allocate(file, epoch, count, offer);
  }
  Code release(u32 epoch, u32 sequence) { return h.release(file, epoch, sequence); }
  Code report(u32 epoch, u32 sequence, u64 base, u32 length, std::vector<u32> suspects = {}) {
    return h.report(file, epoch, sequence, base, length, std::move(suspects));
  }
  pb::PublishRequest publish_request(u32 epoch, u32 fresh = 1) {
    pb::PublishRequest request;
    request.set_file(file);
    request.set_epoch(epoch);
    request.set_fresh_chunks(fresh);
    return request;
  }
  template <class Request>
  static pb::Decision& decide(Request& request, u32 sequence, u64 base, u32 length) {
    return StreamHarness::decide(request, sequence, base, length);
  }
  static void add_replica(pb::Decision& decision, u32 server) {
    pb::Replica& replica = *decision.add_replicas();
    replica.set_server(server);
    wire::set(*replica.mutable_device(), StreamHarness::device(server));
  }
  Result<pb::PublishReply> publish(const pb::PublishRequest& request,
                                   const record::Offer& offer = StreamHarness::offer(4)) {
    return h.call(master::publish, request, offer);
  }
  Result<pb::SealFileReply> seal(const pb::SealFileRequest& request) {
    return h.call(seal_file, request);
  }
  pb::SealFileRequest seal_request(u32 epoch) {
    pb::SealFileRequest request;
    request.set_file(file);
    request.set_epoch(epoch);
    return request;
  }
  Result<pb::GetStreamReply> get(u64 from = 0, u32 limit = 0) { return h.get(file, from, limit); }
  std::vector<u32> sequences(u64 from = 0) {
    std::vector<u32> out;
    const auto reply = get(from);
    for (const pb::ChunkInfo& chunk : reply->stream().chunks()) {
      out.push_back(chunk.chunk().sequence());
    }
    return out;
  }
  pb::ChunkOrdersRequest orders(u32 server) { return h.orders(server); }
  void TearDown() override { EXPECT_EQ(h.check_tables(), ""); }

  StreamHarness h;
  u64 file = StreamHarness::file(1);
};

TEST_F(StreamTest, NewFileIsEpochZero) {
  const auto stream = get();
  ASSERT_TRUE(stream.ok());
  EXPECT_EQ(stream->stream().epoch(), 0u);
  EXPECT_EQ(stream->stream().state(), pb::STREAM_NEW);
  EXPECT_TRUE(stream->stream().chunks().empty());
  EXPECT_FALSE(stream->more());
}

TEST_F(StreamTest, FirstOpenIsOneCommitWithFreshChunks) {
  const auto opened = open(2);
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  EXPECT_EQ(opened->stream().epoch(), 1u);
  EXPECT_EQ(opened->stream().state(), pb::STREAM_OPEN);
  EXPECT_TRUE(opened->stream().chunks().empty());
  ASSERT_EQ(opened->fresh_size(), 2);
  for (int i = 0; i < 2; ++i) {
    const pb::ChunkInfo& chunk = opened->fresh(i);
    EXPECT_EQ(chunk.chunk().file(), file);
    EXPECT_EQ(chunk.chunk().sequence(), static_cast<u32>(i + 1));
    EXPECT_EQ(chunk.state(), pb::CHUNK_OPEN);
    EXPECT_EQ(chunk.owner_epoch(), 1u);
    EXPECT_EQ(chunk.copies_max(), 3u);
    EXPECT_EQ(chunk.copies_min(), 2u);
    EXPECT_EQ(chunk.replicas_size(), 3);
    EXPECT_EQ(chunk.chunk_limit(), 64 * kMiB);
  }
  EXPECT_EQ(h.meta().chunks(), 2u);
}

TEST_F(StreamTest, OpenWithoutAPlaceChangesNothing) {
  EXPECT_EQ(open(1, StreamHarness::no_offer()).code(), Code::kNoPlacement);
  EXPECT_EQ(get()->stream().epoch(), 0u);
  EXPECT_EQ(open(5).code(), Code::kInvalidArgument);
  EXPECT_EQ(open(0).code(), Code::kInvalidArgument);
}

TEST_F(StreamTest, SecondOpenRecoversEvenWithoutAPlace) {
  ASSERT_TRUE(open(2).ok());
  const auto second = open(1, StreamHarness::no_offer());
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->stream().epoch(), 2u);
  EXPECT_EQ(second->stream().state(), pb::STREAM_RECOVERING);
  EXPECT_EQ(second->stream().chunks_size(), 2);
  EXPECT_TRUE(second->fresh().empty());
  // And a third takes over from the second.
  EXPECT_EQ(open()->stream().epoch(), 3u);
}

TEST_F(StreamTest, AFencedWriterIsToldSo) {
  ASSERT_TRUE(open(2).ok());
  ASSERT_TRUE(open(2).ok());
  // The old epoch, the new one while it recovers, and one that never was.
  for (const u32 epoch : {1u, 2u, 3u, 0u}) {
    EXPECT_EQ(allocate(epoch).code(), Code::kWrongEpoch) << epoch;
    EXPECT_EQ(release(epoch, 2), Code::kWrongEpoch) << epoch;
    EXPECT_EQ(report(epoch, 1, 0, 10), Code::kWrongEpoch) << epoch;
    EXPECT_EQ(seal(seal_request(epoch)).code(), Code::kWrongEpoch) << epoch;
  }
  EXPECT_EQ(publish(publish_request(1)).code(), Code::kWrongEpoch);
  EXPECT_EQ(publish(publish_request(3)).code(), Code::kWrongEpoch);
}

TEST_F(StreamTest, AllocateGoesOnWithTheSequence) {
  ASSERT_TRUE(open(1).ok());
  const auto more = allocate(1, 3);
  ASSERT_TRUE(more.ok());
  EXPECT_EQ(more->chunks(2).chunk().sequence(), 4u);
  EXPECT_EQ(allocate(1, 1, StreamHarness::no_offer()).code(), Code::kNoPlacement);
  EXPECT_EQ(allocate(1, 5).code(), Code::kInvalidArgument);
  EXPECT_EQ(sequences(), (std::vector<u32>{1, 2, 3, 4}));
  while (h.meta().chunks() < kTailMax) {
    ASSERT_TRUE(allocate(1, 4).ok());
  }
  EXPECT_EQ(allocate(1).code(), Code::kBusy);
  ASSERT_EQ(report(1, 1, 0, 5), Code::kOk);
  EXPECT_TRUE(allocate(1).ok());
}

TEST_F(StreamTest, ALayoutThatBreaksThePolicyIsRefused) {
  record::Offer offer = StreamHarness::offer(1);
  offer.mutable_layouts(0)->mutable_replicas(2)->set_server(1);
  EXPECT_EQ(open(1, offer).code(), Code::kInternal);
  EXPECT_EQ(open(1, StreamHarness::offer(1, 3, 1)).code(), Code::kInternal);
  EXPECT_EQ(open(1, StreamHarness::offer(1, 4, 3)).code(), Code::kInternal);
  // Two of three servers: both must acknowledge.
  EXPECT_TRUE(open(1, StreamHarness::offer(1, 2, 2)).ok());
}

TEST_F(StreamTest, ReportsInOrderSettleTheStream) {
  ASSERT_TRUE(open(3).ok());
  EXPECT_EQ(report(1, 1, 0, 100, {2}), Code::kOk);
  EXPECT_EQ(get()->stream().settled_length(), 100u);
  EXPECT_EQ(report(1, 2, 100, 50), Code::kOk);
  const auto stream = get();
  EXPECT_EQ(stream->stream().settled_length(), 150u);
  EXPECT_EQ(sequences(), (std::vector<u32>{1, 2, 3}));
  EXPECT_EQ(stream->stream().chunks(0).state(), pb::CHUNK_SEALED);
  EXPECT_EQ(stream->stream().chunks(1).base(), 100u);
  EXPECT_EQ(stream->stream().chunks(1).length(), 50u);
  EXPECT_TRUE(stream->stream().chunks(0).replicas(1).suspect());
  EXPECT_FALSE(stream->stream().chunks(0).replicas(0).suspect());
  EXPECT_EQ(stream->stream().chunks(2).state(), pb::CHUNK_OPEN);
}

TEST_F(StreamTest, ReportRules) {
  ASSERT_TRUE(open(4).ok());
  EXPECT_EQ(report(1, 9, 0, 10), Code::kInvalidArgument);
  EXPECT_EQ(report(1, 0, 0, 10), Code::kInvalidArgument);
  EXPECT_EQ(report(1, 1, 0, 64 * kMiB + 1), Code::kInvalidArgument);
  EXPECT_EQ(report(1, 1, ~u64{0}, 10), Code::kInvalidArgument);
  // The first chunk begins where the stream does.
  EXPECT_EQ(report(1, 1, 1, 10), Code::kConflict);
  EXPECT_EQ(get()->stream().chunks(0).state(), pb::CHUNK_OPEN);
  // The second one first: stored, checked when the gap closes.
  EXPECT_EQ(report(1, 2, 100, 20), Code::kOk);
  EXPECT_EQ(get()->stream().settled_length(), 0u);
  EXPECT_EQ(report(1, 1, 0, 99), Code::kConflict);
  EXPECT_EQ(report(1, 1, 0, 0), Code::kConflict);
  EXPECT_EQ(release(1, 1), Code::kConflict);
  EXPECT_EQ(report(1, 3, 119, 7), Code::kConflict);
  EXPECT_EQ(report(1, 3, 130, 7), Code::kConflict);
  EXPECT_EQ(report(1, 4, 120, 7), Code::kOk);
  EXPECT_EQ(report(1, 1, 0, 100), Code::kOk);
  EXPECT_EQ(get()->stream().settled_length(), 120u);
  // Chunk 3 was skipped.
  EXPECT_EQ(report(1, 3, 120, 1), Code::kConflict);
  EXPECT_EQ(report(1, 3, 120, 0), Code::kOk);
  EXPECT_EQ(get()->stream().settled_length(), 127u);
  EXPECT_EQ(sequences(), (std::vector<u32>{1, 2, 4}));
  // Once settled: the same again is fine, anything else is not.
  EXPECT_EQ(report(1, 2, 100, 20), Code::kOk);
  EXPECT_EQ(report(1, 2, 100, 21), Code::kConflict);
  EXPECT_EQ(report(1, 3, 120, 0), Code::kOk);
  EXPECT_EQ(report(1, 3, 120, 4), Code::kConflict);
  EXPECT_EQ(report(1, 1, 0, 0), Code::kConflict);
}

TEST_F(StreamTest, ReleaseTakesASpareBack) {
  ASSERT_TRUE(open(2).ok());
  EXPECT_EQ(release(1, 2), Code::kOk);
  EXPECT_EQ(release(1, 2), Code::kOk);
  EXPECT_EQ(release(1, 7), Code::kInvalidArgument);
  EXPECT_EQ(h.meta().chunks(), 1u);
  ASSERT_EQ(report(1, 1, 0, 10), Code::kOk);
  EXPECT_EQ(release(1, 1), Code::kConflict);
  // With nothing open the next opener needs no recovery.
  const auto opened = open(1);
  EXPECT_EQ(opened->stream().state(), pb::STREAM_OPEN);
  EXPECT_EQ(opened->stream().settled_length(), 10u);
  EXPECT_EQ(opened->fresh(0).chunk().sequence(), 3u);
  EXPECT_TRUE(orders(1).delete_chunks().empty());
}

TEST_F(StreamTest, PublishDecidesEverythingAtOnce) {
  ASSERT_TRUE(open(3).ok());
  ASSERT_EQ(report(1, 1, 0, 100), Code::kOk);
  ASSERT_TRUE(open(1).ok());
  pb::PublishRequest request = publish_request(2, 2);
  decide(request, 2, 100, 30);
  decide(request, 3, 130, 0);
  const auto published = publish(request);
  ASSERT_TRUE(published.ok()) << published.error().message();
  EXPECT_EQ(published->stream().state(), pb::STREAM_OPEN);
  EXPECT_EQ(published->stream().settled_length(), 130u);
  ASSERT_EQ(published->fresh_size(), 2);
  EXPECT_EQ(published->fresh(0).chunk().sequence(), 4u);
  EXPECT_EQ(published->fresh(0).owner_epoch(), 2u);
  EXPECT_EQ(sequences(), (std::vector<u32>{1, 2, 4, 5}));
  EXPECT_EQ(h.meta().chunks(), 4u);
  // The first publish is final.
  pb::PublishRequest again = publish_request(2);
  EXPECT_EQ(publish(again).code(), Code::kWrongEpoch);
  EXPECT_TRUE(allocate(2).ok());
}

TEST_F(StreamTest, PublishRules) {
  ASSERT_TRUE(open(3).ok());
  ASSERT_EQ(report(1, 2, 100, 20), Code::kOk);  // settled behind an open one
  const auto opened = open(1);
  ASSERT_EQ(opened->stream().chunks_size(), 3);
  EXPECT_EQ(opened->stream().chunks(1).state(), pb::CHUNK_SEALED);

  const auto refused = [&](auto fill) {
    pb::PublishRequest request = publish_request(2);
    fill(request);
    const auto reply = publish(request);
    EXPECT_EQ(get()->stream().state(), pb::STREAM_RECOVERING);
    return reply.code();
  };
  using R = pb::PublishRequest;
  EXPECT_EQ(refused([&](R& r) { decide(r, 1, 0, 100); }), Code::kInvalidArgument);  // not all
  EXPECT_EQ(refused([&](R& r) {
              decide(r, 1, 0, 100);
              decide(r, 3, 120, 0);
              decide(r, 3, 120, 0);
            }),
            Code::kInvalidArgument);
  EXPECT_EQ(refused([&](R& r) {
              decide(r, 1, 0, 100);
              decide(r, 3, 120, 0);
              decide(r, 4, 120, 0);
            }),
            Code::kInvalidArgument);
  EXPECT_EQ(refused([&](R& r) {
              decide(r, 1, 0, 99);
              decide(r, 3, 120, 0);
            }),
            Code::kConflict);
  EXPECT_EQ(refused([&](R& r) {
              decide(r, 1, 0, 100);
              decide(r, 2, 100, 21);
              decide(r, 3, 121, 0);
            }),
            Code::kConflict);
  EXPECT_EQ(refused([&](R& r) {
              decide(r, 1, 0, 100);
              decide(r, 3, 121, 5);
            }),
            Code::kConflict);
  EXPECT_EQ(refused([&](R& r) {
              decide(r, 1, 0, 100).set_dropped(true);
              decide(r, 3, 120, 0);
            }),
            Code::kInvalidArgument);
  EXPECT_EQ(refused([&](R& r) {
              decide(r, 1, 0, 100);
              decide(r, 3, 120, 0).set_dropped(false);
            }),
            Code::kInvalidArgument);

  pb::PublishRequest good = publish_request(2);
  decide(good, 1, 0, 100);
  decide(good, 2, 100, 20);  // known already, and the same
  decide(good, 3, 120, 5);
  const auto published = publish(good);
  ASSERT_TRUE(published.ok()) << published.error().message();
  EXPECT_EQ(published->stream().settled_length(), 125u);
}

TEST_F(StreamTest, PublishMayReplaceLocations) {
  ASSERT_TRUE(open(1).ok());
  ASSERT_TRUE(open(1).ok());
  const auto with_replicas = [&](std::vector<u32> servers) {
    pb::PublishRequest request = publish_request(2, 0);
    pb::Decision& decision = decide(request, 1, 0, 10);
    for (const u32 server : servers) {
      add_replica(decision, server);
    }
    return publish(request);
  };
  EXPECT_EQ(with_replicas({1}).code(), Code::kInvalidArgument);        // too few
  EXPECT_EQ(with_replicas({1, 1, 2}).code(), Code::kInvalidArgument);  // twice
  EXPECT_EQ(with_replicas({1, 2, 0}).code(), Code::kInvalidArgument);  // no server
  ASSERT_TRUE(with_replicas({1, 2, 4}).ok());
  const auto stream = get();
  ASSERT_EQ(stream->stream().chunks_size(), 1);
  const pb::ChunkInfo& chunk = stream->stream().chunks(0);
  EXPECT_EQ(chunk.replicas(2).server(), 4u);
  EXPECT_EQ(chunk.version(), 2u);
  // Who left deletes, who holds it finalizes.
  ASSERT_EQ(orders(3).delete_chunks_size(), 1);
  EXPECT_EQ(orders(3).delete_chunks(0).version(), 2u);
  EXPECT_TRUE(orders(3).finalize_chunks().empty());
  ASSERT_EQ(orders(4).finalize_chunks_size(), 1);
  EXPECT_EQ(orders(4).finalize_chunks(0).length(), 10u);
  EXPECT_EQ(orders(4).finalize_chunks(0).version(), 2u);
}

TEST_F(StreamTest, PublishStandsWithoutAPlaceForMore) {
  ASSERT_TRUE(open(1).ok());
  ASSERT_TRUE(open(1).ok());
  pb::PublishRequest request = publish_request(2, 2);
  decide(request, 1, 0, 10);
  const auto published = publish(request, StreamHarness::no_offer());
  ASSERT_TRUE(published.ok());
  EXPECT_TRUE(published->fresh().empty());
  EXPECT_EQ(published->stream().state(), pb::STREAM_OPEN);
  EXPECT_EQ(allocate(2, 1, StreamHarness::no_offer()).code(), Code::kNoPlacement);
  EXPECT_TRUE(allocate(2, 1).ok());
}

TEST_F(StreamTest, PublishCanSeal) {
  ASSERT_TRUE(open(1).ok());
  ASSERT_TRUE(open(1).ok());
  pb::PublishRequest request = publish_request(2, 1);
  decide(request, 1, 0, 10);
  request.set_seal(true);
  const auto published = publish(request);
  ASSERT_TRUE(published.ok());
  EXPECT_EQ(published->stream().state(), pb::STREAM_SEALED);
  EXPECT_TRUE(published->fresh().empty());
  EXPECT_EQ(open().code(), Code::kReadOnly);
  EXPECT_EQ(allocate(2).code(), Code::kReadOnly);
  EXPECT_EQ(allocate(1).code(), Code::kWrongEpoch);
}

TEST_F(StreamTest, TheWriterSealsItsFile) {
  ASSERT_TRUE(open(2).ok());
  EXPECT_EQ(seal(seal_request(1)).code(), Code::kInvalidArgument);
  pb::SealFileRequest moved = seal_request(1);
  pb::Decision& decision = decide(moved, 1, 0, 10);
  add_replica(decision, 1);
  add_replica(decision, 2);
  add_replica(decision, 4);
  decide(moved, 2, 10, 0);
  EXPECT_EQ(seal(moved).code(), Code::kInvalidArgument);  // only a takeover moves an open chunk
  pb::SealFileRequest request = seal_request(1);
  decide(request, 1, 0, 10);
  decide(request, 2, 10, 0);
  const auto sealed = seal(request);
  ASSERT_TRUE(sealed.ok()) << sealed.error().message();
  EXPECT_EQ(sealed->length(), 10u);
  EXPECT_EQ(get()->stream().state(), pb::STREAM_SEALED);
  EXPECT_EQ(open().code(), Code::kReadOnly);
}

TEST_F(StreamTest, GetStreamPagesByOffset) {
  ASSERT_TRUE(open(1).ok());
  u64 base = 0;
  for (u32 sequence = 1; sequence <= 50; ++sequence) {
    ASSERT_EQ(report(1, sequence, base, sequence), Code::kOk);
    base += sequence;
    ASSERT_TRUE(allocate(1).ok());
  }
  const auto all = get(0, 1000);
  EXPECT_EQ(all->stream().chunks_size(), 51);
  EXPECT_EQ(all->stream().settled_length(), base);
  u64 from = 0;
  u32 next = 1;
  for (;;) {
    const auto page = get(from, 7);
    const auto& chunks = page->stream().chunks();
    ASSERT_LE(chunks.size(), 8);
    for (const pb::ChunkInfo& chunk : chunks) {
      if (chunk.state() == pb::CHUNK_SEALED) {
        EXPECT_EQ(chunk.chunk().sequence(), next++);
        from = chunk.base() + chunk.length();
      }
    }
    EXPECT_EQ(chunks[chunks.size() - 1].chunk().sequence(), 51u);
    if (!page->more()) {
      break;
    }
  }
  EXPECT_EQ(next, 51u);
  EXPECT_EQ(from, base);
  // From the middle of a chunk, from its last byte, from its end, from far beyond.
  EXPECT_EQ(sequences(base - 50).front(), 50u);
  EXPECT_EQ(sequences(base - 1).front(), 50u);
  EXPECT_EQ(sequences(base), (std::vector<u32>{51}));
  EXPECT_EQ(sequences(~u64{0}), (std::vector<u32>{51}));
}

TEST_F(StreamTest, ARemovedFileIsGoneForItsWriterAndItsChunksAreDeleted) {
  ASSERT_TRUE(open(2).ok());
  ASSERT_EQ(report(1, 1, 0, 10), Code::kOk);
  ASSERT_EQ(orders(2).finalize_chunks_size(), 1);
  h.remove(file);
  EXPECT_EQ(allocate(1).code(), Code::kNotFound);
  EXPECT_EQ(report(1, 2, 10, 5), Code::kNotFound);
  EXPECT_EQ(release(1, 2), Code::kNotFound);
  EXPECT_EQ(open().code(), Code::kNotFound);
  EXPECT_EQ(publish(publish_request(1)).code(), Code::kNotFound);
  EXPECT_EQ(get().code(), Code::kNotFound);
  h.reclaim_all();
  EXPECT_EQ(h.meta().chunks(), 0u);
  for (const u32 server : {1u, 2u, 3u}) {
    const pb::ChunkOrdersRequest reply = orders(server);
    EXPECT_TRUE(reply.finalize_chunks().empty());
    ASSERT_EQ(reply.delete_chunks_size(), 2);
    EXPECT_EQ(reply.delete_chunks(0).chunk().file(), file);
    EXPECT_EQ(wire::get(reply.delete_chunks(0).device()), StreamHarness::device(server));
    EXPECT_EQ(reply.delete_chunks(0).version(), 0u);
  }
  // However late a writer comes.
  EXPECT_EQ(open().code(), Code::kNotFound);
}

TEST_F(StreamTest, AFileOfManyChunksIsFreedInSteps) {
  ASSERT_TRUE(open(1).ok());
  for (u32 sequence = 1; sequence <= 100; ++sequence) {
    ASSERT_EQ(report(1, sequence, (sequence - 1) * u64{5}, 5), Code::kOk);
    ASSERT_TRUE(allocate(1).ok());
  }
  h.remove(file);
  h.reclaim_all(10);
  EXPECT_EQ(h.meta().chunks(), 0u);
  EXPECT_EQ(orders(1).delete_chunks_size(), 101);
  EXPECT_EQ(h.meta().reclaims(), 0u);
  for (const char* table : {"S", "C", "X", "H", "P", "N"}) {
    EXPECT_TRUE(h.query([&](Txn& txn) { return txn.scan_prefix(table, 1); }).entries.empty())
        << table;
  }
}

TEST_F(StreamTest, OrdersStayUntilConfirmed) {
  ASSERT_TRUE(open(2).ok());
  ASSERT_EQ(report(1, 1, 0, 10), Code::kOk);
  ASSERT_EQ(report(1, 2, 10, 0), Code::kOk);
  const auto confirm = [&](u32 server, bool as_deleted, u32 sequence) {
    record::ConfirmOrders request;
    request.set_server(server);
    record::OrderId& id = as_deleted ? *request.add_deleted() : *request.add_finalized();
    id.set_file(file);
    id.set_sequence(sequence);
    id.set_device_high(StreamHarness::device(server).high);
    id.set_device_low(StreamHarness::device(server).low);
    EXPECT_TRUE(h.change([&](Txn& txn) { return confirm_orders(txn, request); }).ok());
  };
  EXPECT_EQ(orders(1).finalize_chunks_size(), 1);
  EXPECT_EQ(orders(1).delete_chunks_size(), 1);
  confirm(1, true, 1);   // not what was ordered
  confirm(1, false, 2);  // likewise
  confirm(1, false, 9);  // never ordered
  EXPECT_EQ(orders(1).finalize_chunks_size(), 1);
  EXPECT_EQ(orders(1).delete_chunks_size(), 1);
  confirm(1, false, 1);
  confirm(1, true, 2);
  EXPECT_TRUE(orders(1).finalize_chunks().empty());
  EXPECT_TRUE(orders(1).delete_chunks().empty());
  EXPECT_EQ(orders(2).finalize_chunks_size(), 1);
  const auto with_orders = h.query([](Txn& txn) { return servers_with_orders(txn); });
  EXPECT_EQ(with_orders, (std::vector<ServerId>{{2}, {3}}));
}

TEST_F(StreamTest, AFileThatWasNeverOpenedHasNothingToChange) {
  EXPECT_EQ(allocate(0).code(), Code::kNotFound);
  EXPECT_EQ(release(0, 1), Code::kNotFound);
  EXPECT_EQ(report(0, 1, 0, 10), Code::kNotFound);
  EXPECT_EQ(publish(publish_request(0)).code(), Code::kNotFound);
  EXPECT_EQ(seal(seal_request(0)).code(), Code::kNotFound);
  EXPECT_FALSE(h.query([&](Txn& txn) { return txn.has(keys::stream({file})); }));
  EXPECT_EQ(get()->stream().state(), pb::STREAM_NEW);
}

TEST_F(StreamTest, TheFirstOpenSaysWhatTheFileIs) {
  pb::OpenForAppendRequest request;
  request.set_file(file);
  request.set_fresh_chunks(1);
  request.mutable_options()->set_copies_max(2);
  request.mutable_options()->set_chunk_bytes(1);
  EXPECT_EQ(h.call(open_for_append, request, StreamHarness::offer(1, 2, 2)).code(),
            Code::kInvalidArgument);
  request.mutable_options()->set_chunk_bytes(2 * kMiB);
  const auto opened = h.call(open_for_append, request, StreamHarness::offer(1, 2, 2));
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  EXPECT_EQ(opened->stream().options().copies_max(), 2u);
  EXPECT_EQ(opened->stream().options().copies_min(), 2u);
  EXPECT_EQ(opened->fresh(0).chunk_limit(), 2 * kMiB);
  // Later ones have no say.
  request.mutable_options()->set_copies_max(3);
  EXPECT_EQ(h.call(open_for_append, request)->stream().options().copies_max(), 2u);
  EXPECT_EQ(get()->stream().options().chunk_bytes(), 2 * kMiB);
}

TEST_F(StreamTest, ARemovedFileIsNeverMade) {
  h.remove(file);
  h.remove(file);
  EXPECT_EQ(h.meta().reclaims(), 0u);
  EXPECT_EQ(open().code(), Code::kNotFound);
  EXPECT_EQ(get().code(), Code::kNotFound);
  EXPECT_TRUE(h.open(StreamHarness::file(2)).ok()) << "its neighbours are";
}

TEST_F(StreamTest, FilesOfOtherGroupsAreRefused) {
  const u64 other = StreamHarness::file(1, 7);
  EXPECT_EQ(h.open(other).code(), Code::kInvalidArgument);
  EXPECT_EQ(h.get(other).code(), Code::kInvalidArgument);
  h.remove(other);
  EXPECT_TRUE(h.query([](Txn& txn) { return txn.scan_prefix("Z", 1); }).entries.empty());
  StreamHarness seven(7);
  EXPECT_TRUE(seven.open(other).ok());
}

TEST_F(StreamTest, SeveralStreamsAtOnce) {
  ASSERT_TRUE(open(2).ok());
  h.remove(StreamHarness::file(3));
  pb::GetStreamsRequest request;
  for (const u64 each : {file, StreamHarness::file(2), StreamHarness::file(3)}) {
    request.add_requests()->set_file(each);
  }
  const auto ask = [&] { return h.query([&](Txn& txn) { return get_streams(txn, request); }); };
  const auto reply = ask();
  ASSERT_TRUE(reply.ok());
  ASSERT_EQ(reply->replies_size(), 3);
  EXPECT_EQ(reply->replies(0).reply().stream().chunks_size(), 2);
  EXPECT_EQ(reply->replies(1).reply().stream().state(), pb::STREAM_NEW);
  EXPECT_EQ(reply->replies(2).code(), static_cast<u32>(Code::kNotFound));
  for (int i = 0; i < kStreamsPerRequest; ++i) {
    request.add_requests()->set_file(file);
  }
  EXPECT_EQ(ask().code(), Code::kInvalidArgument);
}

TEST_F(StreamTest, AReplyOfManyStreamsIsBounded) {
  ASSERT_TRUE(open(1).ok());
  for (u32 sequence = 1; sequence <= 200; ++sequence) {
    ASSERT_EQ(report(1, sequence, (sequence - 1) * u64{5}, 5), Code::kOk);
    ASSERT_TRUE(allocate(1).ok());
  }
  pb::GetStreamsRequest request;
  for (int i = 0; i < kStreamsPerRequest; ++i) {
    pb::GetStreamRequest& each = *request.add_requests();
    each.set_file(file);
    each.set_limit(200);
  }
  const auto reply = h.query([&](Txn& txn) { return get_streams(txn, request); });
  ASSERT_EQ(reply->replies_size(), kStreamsPerRequest);
  EXPECT_EQ(reply->replies(0).code(), 0u);
  EXPECT_EQ(reply->replies(kStreamsPerRequest - 1).code(), static_cast<u32>(Code::kBusy));
  EXPECT_LT(reply->ByteSizeLong(), kReplyBytesSoft + 100 * kKiB);
}

}  // namespace
}  // namespace pangu::master
