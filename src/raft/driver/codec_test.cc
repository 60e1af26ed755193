#include "raft/driver/codec.h"

#include <gtest/gtest.h>

#include "base/prng.h"

namespace pangu::raft {
namespace {

const Envelope kEnvelope{{.high = 1, .low = 2}, NodeId{3}, NodeId{4}};

Configuration three() {
  return {.voters = {NodeId{1}, NodeId{2}, NodeId{3}}};
}

std::vector<Message> one_of_each() {
  const NodeId from{3};
  const NodeId to{4};
  const Term term{9};
  Entries entries;
  entries.push_back({Term{8}, 12, EntryKind::command, Payload::copy_of("hello")});
  entries.push_back({Term{9}, 13, EntryKind::empty, Payload()});
  entries.push_back({Term{9}, 14, EntryKind::configuration, encode(three())});
  std::vector<Message> out;
  out.push_back({from, to, term, VoteRequest{true, false, {Term{8}, 11}}});
  out.push_back({from, to, term, VoteRequest{false, true, {Term{8}, 11}}});
  out.push_back({from, to, term, VoteReply{false, true}});
  out.push_back({from, to, term, VoteReply{true, false}});
  out.push_back({from, to, term, AppendRequest{{Term{8}, 11}, 10, entries}});
  out.push_back({from, to, term, AppendRequest{{Term{8}, 11}, 10, {}}});
  out.push_back({from, to, term, AppendReply{true, 14, {}}});
  out.push_back({from, to, term, AppendReply{false, 14, {Term{2}, 3}}});
  out.push_back({from, to, term, Heartbeat{10, 77, true}});
  out.push_back({from, to, term, HeartbeatReply{77, true}});
  out.push_back({from, to, term, SnapshotOffer{{{Term{5}, 100}, three()}}});
  out.push_back({from, to, term, TimeoutNow{}});
  out.push_back({from, to, term, ReadRequest{0xffffffffffffffff}});
  out.push_back({from, to, term, ReadReply{0xfffffffffffffff0, 12}});
  return out;
}

TEST(Codec, EveryMessageComesBack) {
  BatchWriter writer(kEnvelope, true);
  const std::vector<Message> messages = one_of_each();
  for (size_t i = 0; i < messages.size(); ++i) {
    ASSERT_TRUE(writer.add(GroupId{i}, messages[i]));
  }
  const std::string bytes = writer.take();
  auto batch = decode_batch(as_bytes_of(std::string_view(bytes)));
  ASSERT_TRUE(batch.ok());
  EXPECT_TRUE(batch->hold);
  EXPECT_EQ(batch->envelope.cluster, kEnvelope.cluster);
  EXPECT_EQ(batch->envelope.from, kEnvelope.from);
  EXPECT_EQ(batch->envelope.to, kEnvelope.to);
  ASSERT_EQ(batch->messages.size(), messages.size());
  for (size_t i = 0; i < messages.size(); ++i) {
    EXPECT_EQ(batch->messages[i].group, GroupId{i});
    EXPECT_EQ(to_string(batch->messages[i].message), to_string(messages[i]));
  }
  const auto* append = batch->messages[4].message.as<AppendRequest>();
  ASSERT_NE(append, nullptr);
  EXPECT_EQ(append->entries[0].payload.text(), "hello");
  EXPECT_EQ(append->entries[0].kind, EntryKind::command);
  EXPECT_EQ(append->entries[2].kind, EntryKind::configuration);
  EXPECT_EQ(append->entries[2].index, 14u);
}

TEST(Codec, EveryCutIsRefused) {
  BatchWriter writer(kEnvelope, false);
  std::set<size_t> ends;
  ends.insert(BatchWriter(kEnvelope, false).take().size());
  for (const Message& message : one_of_each()) {
    ASSERT_TRUE(writer.add(GroupId{1}, message));
    BatchWriter copy = writer;
    ends.insert(copy.take().size());
  }
  const std::string bytes = writer.take();
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto batch = decode_batch(as_bytes_of(std::string_view(bytes).substr(0, size)));
    EXPECT_EQ(batch.ok(), ends.contains(size)) << size;
  }
}

TEST(Codec, ABatchNeverOutgrowsAFrame) {
  BatchWriter writer(kEnvelope, false);
  const std::string command(kCommandBytesMax, 'x');
  Message large{NodeId{3}, NodeId{4}, Term{1}, AppendRequest{{}, 0, {}}};
  std::get<AppendRequest>(large.body)
      .entries.push_back({Term{1}, 1, EntryKind::command, Payload::copy_of(command)});
  EXPECT_TRUE(writer.add(GroupId{1}, large));
  EXPECT_FALSE(writer.add(GroupId{1}, large));
  const Message small{NodeId{3}, NodeId{4}, Term{1}, Heartbeat{}};
  size_t added = 1;
  while (writer.add(GroupId{added}, small)) {
    ++added;
  }
  const std::string bytes = writer.take();
  EXPECT_LE(bytes.size(), kBatchBytesMax);
  EXPECT_EQ(decode_batch(as_bytes_of(std::string_view(bytes)))->messages.size(), added);
}

// Numbers near the end of their range would wrap around in the arithmetic of the core.
TEST(Codec, NumbersBeyond63BitsAreRefused) {
  for (const u64 number : {u64{1} << 63, ~u64{0}}) {
    for (int place = 0; place < 3; ++place) {
      const Term term{place == 0 ? number : 1};
      const LogId previous{Term{1}, place == 1 ? number : 1};
      BatchWriter writer(kEnvelope, false);
      ASSERT_TRUE(writer.add(GroupId{1}, {NodeId{3}, NodeId{4}, term,
                                          AppendRequest{previous, place == 2 ? number : 1, {}}}));
      const std::string bytes = writer.take();
      EXPECT_EQ(decode_batch(as_bytes_of(std::string_view(bytes))).code(), Code::kCorrupt);
    }
  }
}

TEST(Codec, SnapshotRequestsComeBack) {
  const std::string begin = encode(SnapshotBegin{kEnvelope, GroupId{5}, 6});
  auto begun = decode_snapshot_begin(as_bytes_of(std::string_view(begin)));
  ASSERT_TRUE(begun.ok());
  EXPECT_EQ(begun->group, GroupId{5});
  EXPECT_EQ(begun->index, 6u);
  const std::string read = encode(SnapshotRead{kEnvelope, GroupId{5}, 6, 7, 8, 9});
  auto reading = decode_snapshot_read(as_bytes_of(std::string_view(read)));
  ASSERT_TRUE(reading.ok());
  EXPECT_EQ(reading->piece, 7u);
  EXPECT_EQ(reading->length, 8u);
  EXPECT_EQ(reading->offset, 9u);
  const std::string too_long =
      encode(SnapshotRead{kEnvelope, GroupId{5}, 6, 7, kSnapshotReadBytesMax + 1, 9});
  EXPECT_FALSE(decode_snapshot_read(as_bytes_of(std::string_view(too_long))).ok());
}

TEST(Codec, ManifestsComeBack) {
  SnapshotImage image{.index = 42, .pieces = {{"a", 1, 2}, {"", 0, 0}, {std::string(128, 'n'), 3, 4}}};
  ASSERT_TRUE(check_image(image).ok());
  const std::string bytes = encode_image(image);
  auto back = decode_image(as_bytes_of(std::string_view(bytes)));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*back, image);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_image(as_bytes_of(std::string_view(bytes).substr(0, size))).ok());
  }
  image.pieces[0].name = std::string(129, 'n');
  EXPECT_EQ(check_image(image).code(), Code::kTooLarge);
  image.pieces.assign(kSnapshotPiecesMax + 1, {});
  EXPECT_EQ(check_image(image).code(), Code::kTooLarge);
  image.pieces.assign(kSnapshotPiecesMax, {std::string(128, 'n'), 1, 1});
  EXPECT_LE(encode_image(image).size(), wire::kBodyBytesMax);
}

}  // namespace
}  // namespace pangu::raft
