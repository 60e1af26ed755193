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
  version.replace(version.find("format_version = \"1\""), 20, "format_version = \"9\"");
  EXPECT_EQ(with_identity(version), Code::kWrongVersion);
  EXPECT_EQ(with_identity(identity), Code::kOk);
  rig.stop();
  // The store's image is damaged.
  std::string image = *files.read_file("/master-1/kv/image");
  image[image.size() / 2] ^= 1;
  ASSERT_TRUE(files.replace_file("/master-1/kv/image", image).ok());
  EXPECT_EQ(rig.open().code(), Code::kCorrupt);
  // It is gone, and the log has been cut meanwhile? It has not: everything comes back.
  ASSERT_TRUE(files.remove("/master-1/kv/image").ok());
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

  pb::RemoveRequest remove;
  remove.set_path("/f");
  EXPECT_EQ(rig.call<pb::RemoveReply>(Method::remove, remove)->files(), 1u);
  EXPECT_EQ(rig.open_file(file).code(), Code::kNotFound);
  rig.world.run_for(seconds(1));
  EXPECT_EQ(rig.info()->chunks(), 0u);
}

TEST(Master, OrdersReachServersAndAreConfirmed) {
  Rig rig(4);
  rig.start();
  rig.add_servers(1, 3);
  const u64 file = rig.create("/f")->entry().id();
  ASSERT_TRUE(rig.open_file(file).ok());
  pb::ReportChunkRequest report;
  report.set_file(file);
  report.set_epoch(1);
  report.set_sequence(1);
  report.set_length(77);
  ASSERT_TRUE(rig.call<pb::ReportChunkReply>(Method::report_chunk, report).ok());
  for (u32 server = 1; server <= 3; ++server) {
    auto orders = rig.heartbeat(server);
    ASSERT_TRUE(orders.ok()) << orders.error().message();
    ASSERT_EQ(orders->finalize_chunks_size(), 1);
    EXPECT_EQ(orders->finalize_chunks(0).length(), 77u);
    EXPECT_EQ(wire::get(orders->finalize_chunks(0).device()), Rig::device_of(server));
    EXPECT_EQ(rig.heartbeat(server)->finalize_chunks_size(), 1);
    EXPECT_EQ(rig.heartbeat(server, *orders)->finalize_chunks_size(), 0);
  }
  pb::RemoveRequest remove;
  remove.set_path("/f");
  ASSERT_TRUE(rig.call<pb::RemoveReply>(Method::remove, remove).ok());
  rig.crash(env::sim::Crash::power);
  rig.world.run_for(seconds(2));
  for (u32 server = 1; server <= 3; ++server) {
    auto orders = rig.heartbeat(server);
    ASSERT_TRUE(orders.ok()) << orders.error().message();
    EXPECT_EQ(orders->delete_chunks_size(), 2);
    EXPECT_EQ(rig.heartbeat(server, *orders)->delete_chunks_size(), 0);
  }
  EXPECT_EQ(rig.heartbeat(9).code(), Code::kNotFound);
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
  EXPECT_EQ(rig.create("relative").code(), Code::kInvalidArgument);
  EXPECT_EQ(rig.create("/a/../b").code(), Code::kInvalidArgument);
  EXPECT_EQ(rig.lookup("").code(), Code::kInvalidArgument);
  EXPECT_EQ(rig.lookup("/none").code(), Code::kNotFound);
  EXPECT_EQ(rig.call<pb::CreateFileReply>(Method::inspect_chunk, pb::InspectChunkRequest()).code(),
            Code::kUnknownMethod);
  // Not Protobuf at all, to every method of the master.
  struct Garbage {
    std::string SerializeAsString() const { return "\xff\xff\xff"; }
  };
  for (u16 method = 100; method < 150; ++method) {
    const auto reply = rig.call<pb::LookupReply>(static_cast<Method>(method), Garbage());
    EXPECT_TRUE(reply.code() == Code::kInvalidArgument || reply.code() == Code::kUnknownMethod)
        << method;
  }
  const u64 commands = rig.info()->commands_applied();
  EXPECT_EQ(commands, 0u);
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
  request.set_path("/");
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
  request.set_path("/0001");
  EXPECT_EQ(rig.call<pb::ListReply>(Method::list, request).code(), Code::kNotDirectory);
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
  EXPECT_GE(rig.master.master->group().counters().flushes, 5u);
  const auto segments = rig.master.node.env().files().list("/master-1/log");
  EXPECT_LE(segments->size(), 3u);
  rig.crash(env::sim::Crash::power);
  EXPECT_LT(rig.master.master->group().counters().applied, 40u);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(rig.lookup("/f" + std::to_string(i)).ok()) << i;
  }
  // After a clean stop nothing is replayed.
  rig.stop();
  ASSERT_TRUE(rig.open().ok());
  EXPECT_EQ(rig.master.master->group().counters().applied, 0u);
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

TEST(Master, ARecursiveRemovalAnswersWithItsCounts) {
  Rig rig(10);
  rig.master.options.group.reclaim_budget = 3;
  rig.start();
  pb::MakeDirectoryRequest make;
  make.set_path("/d/e");
  make.set_parents(true);
  ASSERT_TRUE(rig.call<pb::MakeDirectoryReply>(Method::make_directory, make).ok());
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(rig.create("/d/e/f" + std::to_string(i)).ok());
  }
  pb::RemoveRequest remove;
  remove.set_path("/d");
  EXPECT_EQ(rig.call<pb::RemoveReply>(Method::remove, remove).code(), Code::kNotEmpty);
  remove.set_recursive(true);
  wire::set(*remove.mutable_id()->mutable_client(), rig.client_id);
  remove.mutable_id()->set_sequence(++rig.sequence);
  remove.mutable_id()->set_first_unanswered(rig.sequence);
  // The caller does not wait; the master dies; the caller asks again.
  const auto first = rig.call<pb::RemoveReply>(Method::remove, remove, milliseconds(1));
  EXPECT_EQ(first.code(), Code::kTimeout);
  rig.crash(env::sim::Crash::process);
  const auto again = rig.call<pb::RemoveReply>(Method::remove, remove);
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_EQ(again->files(), 300u);
  EXPECT_EQ(again->directories(), 2u);
  EXPECT_EQ(rig.lookup("/d").code(), Code::kNotFound);
  EXPECT_EQ(rig.info()->files(), 0u);
  EXPECT_EQ(rig.info()->directories(), 1u);
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
      request.set_path(fmt::format("/c{}-{}", maker.id.low, number));
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
          ADD_FAILURE() << request.path() << ": " << reply.error().message();
          maker.failed = true;
          maker.ended = true;
          co_return;
        }
        co_await sleep_for(milliseconds(20));
      }
      maker.made.insert(request.path());
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
        ids.insert(found->entry().id());
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
