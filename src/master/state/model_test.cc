#include <cstdlib>
#include <filesystem>
#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>
#include <map>
#include <set>

#include "base/prng.h"
#include "master/state/removed_files.h"
#include "master/state/rocks_kv.h"
#include "master/state/stream.h"
#include "master/state/transaction.h"
#include "master/state/tree_rig.h"

// Random commands, sensible and bent: against the invariants of streams, and against other stores.
namespace pangu::master {
namespace {

using test::Harness;
using test::TreeRig;
using test::Way;

// ---- what must hold of any state ----

void check_stream(const record::Stream& stream) {
  EXPECT_LE(stream.tail_size(), kTailMax);
  if (!stream.tail().empty()) {
    EXPECT_EQ(stream.tail(0).state(), static_cast<u32>(pb::CHUNK_OPEN));
  }
  for (const record::Chunk& chunk : stream.tail()) {
    EXPECT_LE(chunk.owner_epoch(), stream.epoch());
    if (stream.state() == static_cast<u32>(pb::STREAM_OPEN)) {
      EXPECT_EQ(chunk.owner_epoch(), stream.epoch());
    }
  }
}

void check_state(const Kv& kv) {
  Txn txn(kv);
  const record::Meta meta = txn.meta();
  constexpr size_t kAll = 1'000'000;
  EXPECT_EQ(txn.scan_prefix("R", kAll).entries.size(), meta.sessions());
  EXPECT_EQ(txn.scan_prefix("L", kAll).entries.size(), meta.sessions());
  u64 chunks = 0;
  u64 reclaims = 0;
  for (const char* table : {"S", "H"}) {
    for (const KvEntry& entry : txn.scan_prefix(table, kAll).entries) {
      record::Stream stream;
      ASSERT_TRUE(txn.get(entry.key, stream));
      check_stream(stream);
      chunks += static_cast<u64>(stream.tail_size());
      reclaims += table[0] == 'H' ? 1 : 0;
      // Settled chunks join and end where the head says.
      const FileId file{keys::decode_u64(std::string_view(entry.key).substr(1))};
      EXPECT_EQ(is_removed(txn, file), table[0] == 'H');
      u64 end = 0;
      u32 count = 0;
      for (const KvEntry& row : txn.scan_prefix(keys::chunk_ends_of(file), kAll).entries) {
        record::Chunk chunk;
        ASSERT_TRUE(txn.get(keys::chunk(file, keys::decode_u32(row.value)), chunk));
        EXPECT_EQ(chunk.base(), end);
        end += chunk.length();
        ++count;
      }
      if (table[0] == 'S') {
        EXPECT_EQ(end, stream.settled_length());
        EXPECT_EQ(count, stream.settled_chunks());
      }
    }
  }
  chunks += txn.scan_prefix("C", kAll).entries.size();
  EXPECT_EQ(txn.scan_prefix("C", kAll).entries.size(), txn.scan_prefix("X", kAll).entries.size());
  EXPECT_EQ(chunks, meta.chunks());
  EXPECT_EQ(reclaims, meta.reclaims());
  EXPECT_EQ(txn.scan_prefix("N", kAll).entries.size(), meta.short_chunks());
  EXPECT_FALSE(txn.failed());
}

// ---- streams under random, mostly sensible, often wrong commands ----

class RandomStreams {
 public:
  RandomStreams(Harness& h, u64 seed) : h_(h), random_(seed) {}

  void step() {
    u64& file = files_[random_.below(4)];
    if (file == 0) {
      file = wire::file_id(0, 3, ++made_).number;
    }
    pb::GetStreamRequest get;
    get.set_file(file);
    stream_ = h_.query([&](Txn& txn) { return get_stream(txn, get); })->stream();
    const record::Offer offer = random_.chance(0.1) ? test::no_offer() : test::offer(4);
    switch (random_.below(12)) {
      case 0: {
        auto request = base<pb::OpenForAppendRequest>(file);
        request.set_fresh_chunks(few());
        send<pb::OpenForAppendReply>(wire::Method::open_for_append, request, offer);
        break;
      }
      case 1:
      case 2: {
        auto request = base<pb::AllocateChunksRequest>(file);
        request.set_epoch(epoch());
        request.set_count(few());
        send<pb::AllocateChunksReply>(wire::Method::allocate_chunks, request, offer);
        break;
      }
      case 3: {
        auto request = base<pb::ReleaseChunkRequest>(file);
        request.set_epoch(epoch());
        request.set_sequence(some_chunk().chunk().sequence());
        send<pb::ReleaseChunkReply>(wire::Method::release_chunk, request, {});
        break;
      }
      case 4:
        if (random_.chance(0.1)) {
          remove(file);
          file = 0;
        }
        break;
      case 5:
        h_.reclaim_all(static_cast<u32>(random_.between(1, 9)));
        break;
      case 6:
      case 7:
        publish(file, offer);
        break;
      default:
        report(file);
    }
  }

 private:
  template <class Request>
  static Request base(u64 file) {
    Request request;
    request.set_file(file);
    return request;
  }
  template <class Reply, class Request>
  void send(wire::Method method, const Request& request, const record::Offer& offer) {
    const auto reply = h_.call<Reply>(method, request, offer);
    EXPECT_NE(reply.code(), Code::kInternal);
  }
  u32 few() { return static_cast<u32>(random_.between(random_.chance(0.1) ? 0 : 1, 3)); }
  u32 epoch() { return stream_.epoch() + static_cast<u32>(random_.chance(0.05)); }
  pb::ChunkInfo some_chunk() {
    return stream_.chunks().empty()
               ? pb::ChunkInfo()
               : stream_.chunks(static_cast<int>(
                     random_.below(static_cast<u64>(stream_.chunks_size()))));
  }
  u64 some_base() { return stream_.settled_length() + (random_.chance(0.2) ? 5 : 0); }
  u32 some_length() { return static_cast<u32>(random_.below(3) * 5); }
  void remove(u64 file) {
    record::Deliver request;
    request.set_from(wire::kFirstNamespaceGroup);
    request.add_messages()->set_remove_file(file);
    request.mutable_messages(0)->set_number(++messages_);
    EXPECT_EQ(h_.internal(InternalMethod::deliver, request).code(), 0u);
  }
  void report(u64 file) {
    auto request = base<pb::ReportChunkRequest>(file);
    request.set_epoch(epoch());
    request.set_sequence(some_chunk().chunk().sequence());
    request.set_base(some_base());
    request.set_length(some_length());
    send<pb::ReportChunkReply>(wire::Method::report_chunk, request, {});
  }
  void publish(u64 file, const record::Offer& offer) {
    auto request = base<pb::PublishRequest>(file);
    request.set_epoch(epoch());
    request.set_fresh_chunks(few());
    request.set_seal(random_.chance(0.02));
    u64 end = stream_.settled_length();
    for (const pb::ChunkInfo& chunk : stream_.chunks()) {
      if (chunk.state() == pb::CHUNK_SEALED) {
        end = std::max(end, chunk.base() + chunk.length());
        continue;
      }
      pb::Decision& decision = *request.add_decisions();
      decision.set_sequence(chunk.chunk().sequence());
      decision.set_length(some_length());
      decision.set_dropped(decision.length() == 0);
      decision.set_base(end);
      end += decision.length() + (random_.chance(0.02) ? 1 : 0);
    }
    send<pb::PublishReply>(wire::Method::publish, request, offer);
  }

  Harness& h_;
  Prng random_;
  pb::StreamInfo stream_;
  u64 files_[4] = {};
  u64 made_ = 0;
  u64 messages_ = 0;
};

TEST(Model, StreamsKeepTheirInvariants) {
  for (u64 seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(seed);
    Harness h(pb::GROUP_STREAM);
    RandomStreams streams(h, seed);
    for (int step = 0; step < 1500; ++step) {
      streams.step();
      if (step % 50 == 0) {
        check_state(h.kv());
        ASSERT_FALSE(testing::Test::HasFailure()) << "step " << step;
      }
    }
    h.reclaim_all();
    check_state(h.kv());
    EXPECT_GT(h.query([](Txn& txn) { return txn.scan_prefix("C", 10'000); }).entries.size(), 10u);
  }
}

// ---- another store, the same contents ----

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "pangu-XXXXXX").string();
    CHECK(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Applies the group's commands to RocksDB, and to memory again: all three stores are equal.
void expect_equal_elsewhere(Harness& group) {
  const TemporaryFolder folder;
  const u64 content = content_hash(group.kv()).value();
  const std::vector<record::Command> commands = group.commands();
  auto opened = open_rocks_kv(folder.path("kv"), {});
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  group.restart_with(std::move(*opened));
  for (const record::Command& command : commands) {
    group.apply(command);
  }
  EXPECT_EQ(content_hash(group.kv()).value(), content);
  group.restart_with(std::make_unique<MemoryKv>());
  for (const record::Command& command : commands) {
    group.apply(command);
  }
  EXPECT_EQ(content_hash(group.kv()).value(), content);
}

TEST(Model, RocksDbAndMemoryEndUpEqual) {
  Harness h(pb::GROUP_STREAM);
  RandomStreams streams(h, 77);
  for (int step = 0; step < 800; ++step) {
    streams.step();
  }
  expect_equal_elsewhere(h);
  check_state(h.kv());
}

// A small life of all groups, whose commands are what the tests below bend.
void live(TreeRig& rig) {
  const Way root;
  const auto make = [&](const Way& way, const std::string& name) {
    rig.run(rig.group_of(way.directory()), rig.make_directory_plan(way, name, 0));
    return way.below(rig.directory_id(way.directory(), name, 0));
  };
  for (const char* name : {"a", "b", "c", "s"}) {
    const Way way = make(root, name);
    for (const char* child : {"x", "y"}) {
      const Way below = make(way, child);
      EXPECT_TRUE(rig.create(below, "f").ok());
    }
    EXPECT_TRUE(rig.create(way, "f").ok());
  }
  const u64 a = rig.directory_id(1, "a", 0);
  const u64 b = rig.directory_id(1, "b", 0);
  EXPECT_EQ(rig.run(wire::kRootGroup, rig.move_plan(root, "a", root.below(b), "a", a)), Code::kOk);
  const u64 c = rig.directory_id(1, "c", 0);
  EXPECT_EQ(rig.run(wire::kRootGroup, rig.remove_tree_plan(root, "c", c)), Code::kOk);
  rig.deliver_all();
  rig.group(wire::kRootGroup).add_servers(3);
  pb::ChangeMapRequest change;
  change.mutable_add_master()->set_node(1);
  change.mutable_add_master()->set_address("host:1");
  EXPECT_TRUE(rig.group(wire::kRootGroup)
                  .call<pb::ChangeMapReply>(wire::Method::change_map, change)
                  .ok());
  for (const u64 group : rig.namespaces()) {
    rig.apply(group, InternalMethod::update_map, rig.map());
  }
  Harness& stream = rig.group(rig.streams().front());
  RandomStreams streams(stream, 9);
  for (int step = 0; step < 100; ++step) {
    streams.step();
  }
}

TEST(Model, TheNamespaceIsEqualInEveryStoreToo) {
  TreeRig rig;
  live(rig);
  for (const auto& [id, group] : rig.groups()) {
    expect_equal_elsewhere(*group);
  }
}

std::string bent(std::string bytes, Prng& random) {
  for (u64 times = random.between(1, 4); times > 0; --times) {
    const size_t at = bytes.empty() ? 0 : random.below(bytes.size());
    switch (random.below(4)) {
      case 0:
        bytes.insert(at, 1, static_cast<char>(random.below(256)));
        break;
      case 1:
        bytes.resize(at);
        break;
      case 2:
        bytes.append(bytes.substr(0, at));
        break;
      default:
        if (!bytes.empty()) {
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
        }
    }
  }
  return bytes;
}

// Whatever stands in the log: it is answered, and the state can still be read.
TEST(Model, BentCommandsAreAnswered) {
  const google::protobuf::LogSilencer quiet;
  Prng random(4711);
  TreeRig rig;
  live(rig);
  std::vector<record::Command> all;
  for (const auto& [id, group] : rig.groups()) {
    all.insert(all.end(), group->commands().begin(), group->commands().end());
  }
  std::map<u32, int> codes;
  for (const auto& [id, group] : rig.groups()) {
    for (int i = 0; i < 2500; ++i) {
      const record::Command& original = all[random.below(all.size())];
      record::Command command = original;
      command.set_request(bent(original.request(), random));
      if (random.chance(0.1)) {
        command.set_method(all[random.below(all.size())].method());
      }
      ++codes[group->apply(command).code()];
    }
  }
  EXPECT_GT(codes.size(), 6u);
  for (const u64 group : rig.namespaces()) {
    rig.query(group, [](Txn& txn) { return prepared_parts(txn, 10'000); });
    rig.query(group, [](Txn& txn) { return unfinished(txn, 10'000); });
    rig.query(group, [](Txn& txn) { return outbox(txn, 100); });
    rig.group(group).reclaim_all();
  }
}

TEST(RocksKv, TwoCannotOpenIt) {
  const TemporaryFolder folder;
  auto first = open_rocks_kv(folder.path("kv"), {});
  ASSERT_TRUE(first.ok());
  const auto second = open_rocks_kv(folder.path("kv"), {});
  EXPECT_EQ(second.code(), Code::kInUse) << second.error().message();
}

TEST(RocksKv, OpenErrorsNameThePath) {
  const auto missing = open_rocks_kv("/no/such/folder/kv", {});
  ASSERT_FALSE(missing.ok());
  EXPECT_NE(missing.error().message().find("/no/such/folder/kv"), std::string::npos)
      << missing.error().message();
}

}  // namespace
}  // namespace pangu::master
