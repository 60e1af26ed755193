#include "master/server/master.h"

#include <gtest/gtest.h>
#include <set>

#include "base/prng.h"
#include "master/server/rig.h"

namespace pangu::master {
namespace {

using test::Rig;
using wire::Method;

TEST(Master, InitMakesAFolderOnce) {
  Rig rig(1);
  const Status absent = rig.open();
  EXPECT_EQ(absent.code(), Code::kNotFound);
  EXPECT_NE(absent.error().message().find("--init"), std::string::npos);
  rig.init();
  EXPECT_EQ(Master::init(rig.master.node.env(), "/master-1").code(), Code::kAlreadyExists);
  ASSERT_TRUE(rig.open().ok());
  const Uuid cluster = rig.master.master->cluster();
  EXPECT_FALSE(cluster.is_zero());
  // Held open: nobody else may have it.
  Master second(*rig.master.reactor, *rig.master.pool, rig.master.options);
  EXPECT_EQ(rig.run(rig.master, second.open()).code(), Code::kInUse);
  rig.stop();
  ASSERT_TRUE(rig.open().ok());
  EXPECT_EQ(rig.master.master->cluster(), cluster);
}

TEST(Master, ADamagedFolderIsRefusedWithAReason) {
  Rig rig(2);
  rig.start();
  ASSERT_TRUE(rig.create("/f").ok());
  rig.stop();
  env::FileSystem& files = rig.master.node.env().files();
  const std::string identity = *files.read_file("/master-1/identity.toml");
  const auto with_identity = [&](const std::string& text) {
    CHECK(files.replace_file("/master-1/identity.toml", text).ok());
    return rig.open().code();
  };
  EXPECT_EQ(with_identity("nonsense"), Code::kInvalidArgument);
  EXPECT_EQ(with_identity("role = \"master\"\n"), Code::kInvalidArgument);
  std::string other = identity;
  const size_t id = other.find("cluster = \"") + 11;
  other[id] = other[id] == '1' ? '2' : '1';
  EXPECT_EQ(with_identity(other), Code::kWrongCluster);
  std::string role = identity;
  role.replace(role.find("role = \"master\""), 15, "role = \"other\"");
  EXPECT_EQ(with_identity(role), Code::kInvalidArgument);
  std::string version = identity;
  version.replace(version.find("format_version = \"2\""), 20, "format_version = \"9\"");
  EXPECT_EQ(with_identity(version), Code::kWrongVersion);
  EXPECT_EQ(with_identity(identity), Code::kOk);
  rig.stop();
  // The store's image is damaged.
  const u64 names = rig.master.node.env().files().exists("/master-1/kv/image-4096") ? 4096 : 4097;
  const std::string path = fmt::format("/master-1/kv/image-{}", names);
  std::string image = *files.read_file(path);
  image[image.size() / 2] ^= 1;
  ASSERT_TRUE(files.replace_file(path, image).ok());
  EXPECT_EQ(rig.open().code(), Code::kCorrupt);
  // It is gone, and the log has been cut meanwhile? It has not: everything comes back.
  ASSERT_TRUE(files.remove(path).ok());
  ASSERT_TRUE(rig.open().ok());
  EXPECT_TRUE(rig.lookup("/f").ok());
}

TEST(Master, AFilesWholeLife) {
  Rig rig(3);
  rig.start();
  rig.add_servers(1, 4);
  const u64 file = rig.create("/f")->entry().id();
  const auto opened = rig.open_file(file);
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  ASSERT_EQ(opened->fresh_size(), 2);
  EXPECT_EQ(opened->fresh(0).replicas_size(), 3);
  ASSERT_GE(opened->stream().servers_size(), 3);
  const pb::ServerInfo& server = opened->stream().servers(0);
  EXPECT_EQ(server.address(), "10.0.0." + std::to_string(server.server()) + ":7200");
  EXPECT_EQ(server.state(), pb::SERVER_ALIVE);

  pb::ReportChunkRequest report;
  report.set_file(file);
  report.set_epoch(1);
  report.set_sequence(1);
  report.set_length(1000);
  ASSERT_TRUE(rig.call<pb::ReportChunkReply>(Method::report_chunk, report).ok());
  pb::AllocateChunksRequest allocate;
  allocate.set_file(file);
  allocate.set_epoch(1);
  allocate.set_count(1);
  const auto more = rig.call<pb::AllocateChunksReply>(Method::allocate_chunks, allocate);
  ASSERT_TRUE(more.ok());
  EXPECT_EQ(more->servers_size(), 3);

  pb::GetStreamRequest get;
  get.set_file(file);
  const auto stream = rig.call<pb::GetStreamReply>(Method::get_stream, get);
  ASSERT_TRUE(stream.ok());
  EXPECT_EQ(stream->stream().chunks_size(), 3);
  EXPECT_EQ(stream->stream().settled_length(), 1000u);
  EXPECT_GE(stream->stream().servers_size(), 3);

  // Another writer takes over.
  ASSERT_EQ(rig.open_file(file, 1)->stream().state(), pb::STREAM_RECOVERING);
  pb::PublishRequest publish;
  publish.set_file(file);
  publish.set_epoch(2);
  publish.set_fresh_chunks(1);
  for (const u32 sequence : {2u, 3u}) {
    pb::Decision& decision = *publish.add_decisions();
    decision.set_sequence(sequence);
    decision.set_base(1000);
    decision.set_length(sequence == 2 ? 500 : 0);
    decision.set_dropped(sequence == 3);
  }
  const auto published = rig.call<pb::PublishReply>(Method::publish, publish);
  ASSERT_TRUE(published.ok()) << published.error().message();
  EXPECT_EQ(published->stream().settled_length(), 1500u);
  EXPECT_EQ(published->stream().servers_size(), 3);
  EXPECT_EQ(rig.call<pb::AllocateChunksReply>(Method::allocate_chunks, allocate).code(),
            Code::kWrongEpoch);

  const auto info = rig.info();
  EXPECT_EQ(info->files(), 1u);
  EXPECT_EQ(info->chunks(), 3u);
  EXPECT_EQ(info->servers_size(), 4);
  EXPECT_EQ(info->version(), "test");
  EXPECT_EQ(wire::get(info->cluster()), rig.master.master->cluster());

  ASSERT_TRUE(rig.remove("/f").ok());
  rig.world.run_for(milliseconds(100));  // the message to the stream group
  EXPECT_EQ(rig.open_file(file).code(), Code::kNotFound);
  rig.world.run_for(seconds(1));
  EXPECT_EQ(rig.info()->chunks(), 0u);
}

TEST(Master, SilentServersGetNoChunks) {
  Rig rig(5);
  rig.start();
  rig.add_servers(1, 4);
  const u64 file = rig.create("/f")->entry().id();
  const auto beat = [&](std::vector<u32> servers, i64 how_long) {
    for (i64 second = 0; second < how_long; ++second) {
      for (const u32 server : servers) {
        ASSERT_TRUE(rig.heartbeat(server).ok());
      }
      rig.world.run_for(seconds(1));
    }
  };
  beat({1, 2, 3}, 5);
  const auto info = rig.info();
  EXPECT_EQ(info->servers(0).state(), pb::SERVER_ALIVE);
  EXPECT_EQ(info->servers(3).state(), pb::SERVER_SUSPECT);
  EXPECT_GE(info->servers(3).heartbeat_age_ms(), 4000u);
  const auto opened = rig.open_file(file, 4);
  ASSERT_TRUE(opened.ok());
  for (const pb::ChunkInfo& chunk : opened->fresh()) {
    for (const pb::Replica& replica : chunk.replicas()) {
      EXPECT_NE(replica.server(), 4u);
    }
  }
  beat({1, 2, 3}, 30);
  EXPECT_EQ(rig.info()->servers(3).state(), pb::SERVER_DEAD);
  // Two of three are enough for two copies, one is not.
  beat({1, 2}, 5);
  const u64 second = rig.create("/g")->entry().id();
  const auto two = rig.open_file(second, 1);
  ASSERT_TRUE(two.ok());
  EXPECT_EQ(two->fresh(0).copies_max(), 2u);
  EXPECT_EQ(two->fresh(0).copies_min(), 2u);
  beat({1}, 5);
  const u64 third = rig.create("/h")->entry().id();
  EXPECT_EQ(rig.open_file(third, 1).code(), Code::kNoPlacement);
  // The same request id may try again once servers are back.
  beat({1, 2, 4}, 1);
  EXPECT_TRUE(rig.open_file(third, 1).ok());
  // A master that has just started does not know yet who is alive, and takes them for it.
  rig.crash(env::sim::Crash::process);
  const u64 fourth = rig.create("/i")->entry().id();
  EXPECT_TRUE(rig.open_file(fourth, 1).ok());
}

TEST(Master, ExcludedServersAreAvoided) {
  Rig rig(6);
  rig.start();
  rig.add_servers(1, 5);
  for (int i = 0; i < 20; ++i) {
    const u64 file = rig.create("/f" + std::to_string(i))->entry().id();
    const auto opened = rig.open_file(file, 1, {2, 4});
    ASSERT_TRUE(opened.ok());
    EXPECT_EQ(opened->fresh(0).replicas_size(), 3);
    for (const pb::Replica& replica : opened->fresh(0).replicas()) {
      EXPECT_EQ(replica.server() % 2, 1u);
    }
  }
}

TEST(Master, BadRequestsAreAnswered) {
  Rig rig(7);
  rig.start();
  EXPECT_EQ(rig.create("/..").code(), Code::kInvalidArgument);
  EXPECT_EQ(rig.create("/" + std::string(300, 'x')).code(), Code::kInvalidArgument);
  pb::CreateFileRequest nowhere;
  nowhere.mutable_place()->set_directory(77);
  nowhere.mutable_place()->set_name("f");
  EXPECT_NE(rig.call<pb::CreateFileReply>(Method::create_file, nowhere).code(), Code::kOk);
  pb::GetStreamRequest elsewhere;
  elsewhere.set_group(wire::kFirstStreamGroup + 9);
  EXPECT_EQ(rig.call<pb::GetStreamReply>(Method::get_stream, elsewhere).code(), Code::kStale);
  elsewhere.set_group(wire::kFirstNamespaceGroup);
  EXPECT_EQ(rig.call<pb::GetStreamReply>(Method::get_stream, elsewhere).code(),
            Code::kUnknownMethod);
  EXPECT_EQ(rig.lookup("/none").code(), Code::kNotFound);
  EXPECT_EQ(rig.call<pb::CreateFileReply>(Method::inspect_chunk, pb::InspectChunkRequest()).code(),
            Code::kUnknownMethod);
  // Not Protobuf at all, to every method of the master.
  struct Garbage {
    std::string SerializeAsString() const { return "\xff\xff\xff"; }
  };
  for (u16 method = 100; method < 150; ++method) {
    const auto reply = rig.call<pb::LookupReply>(static_cast<Method>(method), Garbage());
    const bool asks_nothing = static_cast<Method>(method) == Method::get_partition_map;
    EXPECT_TRUE(reply.code() == Code::kInvalidArgument || reply.code() == Code::kUnknownMethod ||
                asks_nothing)
        << method << " " << code_name(reply.code());
  }
}

TEST(Master, LongListsComeWhole) {
  Rig rig(13);
  rig.start();
  std::vector<std::string> expected;
  for (int i = 0; i < 1500; ++i) {
    expected.push_back(fmt::format("{:04}", i));
    ASSERT_TRUE(rig.create("/" + expected.back()).ok());
  }
  pb::ListRequest request;
  request.mutable_place()->set_directory(wire::kRootDirectory);
  request.mutable_place()->add_chain(wire::kRootDirectory);
  const auto first = rig.call<pb::ListReply>(Method::list, request);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->entries_size(), 1000);
  EXPECT_TRUE(first->more());
  request.set_limit(5000);
  const auto all = rig.call<pb::ListReply>(Method::list, request);
  EXPECT_FALSE(all->more());
  ASSERT_EQ(all->entries_size(), 1500);
  for (int i = 0; i < 1500; ++i) {
    EXPECT_EQ(all->entries(i).name(), expected[static_cast<size_t>(i)]);
  }
  request.set_limit(300);
  request.set_after("1199");
  const auto last = rig.call<pb::ListReply>(Method::list, request);
  EXPECT_EQ(last->entries_size(), 300);
  EXPECT_FALSE(last->more());
}

TEST(Master, TheLogIsCutAndARestartIsShort) {
  Rig rig(8);
  rig.master.options.group.flush_interval = seconds(1);
  rig.master.options.log.segment_bytes = 2000;
  rig.master.options.raft.log_keep_entries = 0;
  rig.start();
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(rig.create("/f" + std::to_string(i)).ok());
    rig.world.run_for(milliseconds(100));
  }
  EXPECT_GE(rig.names().counters().flushes, 5u);
  const auto segments = rig.master.node.env().files().list("/master-1/log");
  EXPECT_LE(segments->size(), 3u);
  rig.crash(env::sim::Crash::power);
  EXPECT_LT(rig.names().counters().applied, 40u);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(rig.lookup("/f" + std::to_string(i)).ok()) << i;
  }
  // After a clean stop nothing is replayed.
  rig.stop();
  ASSERT_TRUE(rig.open().ok());
  EXPECT_EQ(rig.names().counters().applied, 0u);
  EXPECT_EQ(rig.info()->files(), 100u);
}

TEST(Master, AFullDiskRefusesChangesAndStillReads) {
  Rig rig(9);
  rig.start();
  ASSERT_TRUE(rig.create("/before").ok());
  env::sim::Disk& disk = rig.master.node.disk();
  disk.options().capacity = disk.used();
  Code code = Code::kOk;
  int made = 0;
  for (int i = 0; i < 5000 && code == Code::kOk; ++i) {
    code = rig.create("/f" + std::to_string(i)).code();
    made += code == Code::kOk ? 1 : 0;
  }
  // The one that met the full disk is in the log's memory and may yet be kept; later ones are
  // refused at once.
  EXPECT_TRUE(code == Code::kTimeout || code == Code::kUnknownOutcome) << code_name(code);
  EXPECT_EQ(rig.create("/refused").code(), Code::kNoSpace);
  EXPECT_TRUE(rig.lookup("/before").ok());
  disk.options().capacity = 0;
  rig.world.run_for(seconds(1));
  EXPECT_TRUE(rig.create("/after").ok());
  EXPECT_EQ(rig.lookup("/refused").code(), Code::kNotFound);
  EXPECT_EQ(rig.info()->files(), static_cast<u64>(made) + 3);
}

TEST(Master, ATreeIsRemovedAtOnceAndFreedLater) {
  Rig rig(10);
  rig.master.options.group.reclaim_budget = 3;
  rig.start();
  ASSERT_TRUE(rig.make("/d").ok());
  ASSERT_TRUE(rig.make("/d/e").ok());
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(rig.create("/d/e/f" + std::to_string(i)).ok());
  }
  EXPECT_EQ(rig.remove("/d").code(), Code::kNotEmpty);
  const auto inside = rig.place("/d/e/new");
  ASSERT_TRUE(inside.ok());
  ASSERT_TRUE(rig.remove("/d", true).ok());
  EXPECT_EQ(rig.lookup("/d").code(), Code::kNotFound);
  // Who still knows the way learns that it is gone.
  pb::CreateFileRequest late;
  *late.mutable_place() = *inside;
  EXPECT_EQ(rig.call<pb::CreateFileReply>(Method::create_file, late).code(), Code::kStale);
  rig.crash(env::sim::Crash::process);
  rig.world.run_for(seconds(10));
  EXPECT_EQ(rig.info()->files(), 0u);
  EXPECT_EQ(rig.info()->directories(), 1u);
}

TEST(Master, DirectoriesMoveBetweenGroups) {
  Rig rig(14);
  rig.master.options.store = StoreKind::memory;
  rig.start();
  for (const char* path : {"/a", "/a/b", "/a/b/c", "/x", "/x/y"}) {
    ASSERT_TRUE(rig.make(path).ok()) << path;
  }
  ASSERT_TRUE(rig.create("/a/b/c/f").ok());
  const u64 id = rig.lookup("/a/b/c/f")->id();
  EXPECT_EQ(rig.rename("/a", "/a/b/c/in-itself").code(), Code::kInvalidArgument);
  EXPECT_EQ(rig.rename("/a/b", "/x/y").code(), Code::kAlreadyExists);
  const auto old = rig.place("/a/b/c/g");
  ASSERT_TRUE(rig.rename("/a/b", "/x/y/b").ok());
  EXPECT_EQ(rig.lookup("/x/y/b/c/f")->id(), id);
  EXPECT_EQ(rig.lookup("/a/b/c/f").code(), Code::kNotFound);
  pb::CreateFileRequest late;
  *late.mutable_place() = *old;
  EXPECT_EQ(rig.call<pb::CreateFileReply>(Method::create_file, late).code(), Code::kStale);
  // The old name is free: the directory made there has another id.
  ASSERT_TRUE(rig.make("/a/b").ok());
  EXPECT_NE(rig.lookup("/a/b")->id(), rig.lookup("/x/y/b")->id());
  ASSERT_TRUE(rig.rename("/x/y/b/c/f", "/a/b/f").ok());
  EXPECT_EQ(rig.lookup("/a/b/f")->id(), id);
  ASSERT_TRUE(rig.remove("/x/y/b/c").ok());
  rig.world.run_for(seconds(3));
  for (const u64 group : rig.master.master->groups()) {
    EXPECT_EQ(rig.master.master->group(group)->meta().prepared(), 0u) << group;
    EXPECT_EQ(rig.master.master->group(group)->meta().unfinished(), 0u) << group;
  }
}

// ---- crashes under load ----

// One client that makes files, and sends each request again, unchanged, until it has an answer.
struct Maker {
  Rig& rig;
  Uuid id;
  u64 next = 0;
  std::set<std::string> made;
  bool failed = false;
  bool ended = false;

  static Task<void> work(Maker& maker, const bool& stop) {
    while (!stop) {
      const u64 number = ++maker.next;
      pb::CreateFileRequest request;
      const std::string path = fmt::format("/c{}-{}", maker.id.low, number);
      request.mutable_place()->set_directory(wire::kRootDirectory);
      request.mutable_place()->add_chain(wire::kRootDirectory);
      request.mutable_place()->set_name(path.substr(1));
      request.set_group(wire::kFirstNamespaceGroup + wire::directory_slot(wire::kRootDirectory, 2));
      request.set_exclusive(true);
      wire::set(*request.mutable_id()->mutable_client(), maker.id);
      request.mutable_id()->set_sequence(number);
      request.mutable_id()->set_first_unanswered(number);
      for (;;) {
        auto reply = co_await Rig::sent<pb::CreateFileReply>(maker.rig, Method::create_file,
                                                             request, milliseconds(500));
        if (reply.ok()) {
          break;
        }
        if (reply.error().retry() == Retry::never) {
          ADD_FAILURE() << path << ": " << reply.error().message();
          maker.failed = true;
          maker.ended = true;
          co_return;
        }
        co_await sleep_for(milliseconds(20));
      }
      maker.made.insert(path);
    }
    maker.ended = true;
  }
};

TEST(Master, CrashesLoseNothingAndRepeatNothing) {
  for (u64 seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(seed);
    Rig rig(seed);
    Prng random(seed);
    rig.master.options.group.flush_interval = milliseconds(10);
    rig.master.options.log.segment_bytes = 4000;
    rig.start();
    bool stop = false;
    std::vector<std::unique_ptr<Maker>> makers;
    for (u64 i = 1; i <= 5; ++i) {
      makers.push_back(std::make_unique<Maker>(Maker{.rig = rig, .id = {.high = 0xabc, .low = i}}));
      rig.client.reactor->spawn("maker", TaskClass::foreground, Maker::work(*makers.back(), stop));
    }
    for (int life = 0; life < 5; ++life) {
      rig.world.run_for(microseconds(static_cast<i64>(random.between(100, 40'000))));
      rig.crash(random.chance(0.6) ? env::sim::Crash::power : env::sim::Crash::process);
    }
    stop = true;
    ASSERT_TRUE(rig.world.run_until(
        [&] { return std::all_of(makers.begin(), makers.end(), [](auto& m) { return m->ended; }); },
        rig.world.now() + seconds(60)));
    u64 count = 0;
    std::set<u64> ids;
    for (const auto& maker : makers) {
      ASSERT_FALSE(maker->failed);
      ASSERT_GT(maker->made.size(), 3u);
      count += maker->made.size();
      for (const std::string& path : maker->made) {
        const auto found = rig.lookup(path);
        ASSERT_TRUE(found.ok()) << path;
        ids.insert(found->id());
      }
    }
    EXPECT_EQ(ids.size(), count);
    EXPECT_EQ(rig.info()->files(), count);
  }
}

TEST(Master, OneSeedGivesOneTrace) {
  const auto trace = [](u64 seed) {
    Rig rig(seed);
    rig.start();
    rig.add_servers(1, 4);
    for (int i = 0; i < 20; ++i) {
      const u64 file = rig.create("/f" + std::to_string(i))->entry().id();
      rig.world.trace(hash64(rig.open_file(file)->SerializeAsString()));
    }
    rig.crash(env::sim::Crash::power);
    rig.world.trace(hash64(rig.info()->SerializeAsString()));
    return rig.world.trace_hash();
  };
  EXPECT_EQ(trace(11), trace(11));
  EXPECT_NE(trace(11), trace(12));
}

}  // namespace
}  // namespace pangu::master
