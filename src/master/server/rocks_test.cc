#include <gtest/gtest.h>

#include "env/linux/test_world.h"
#include "master/server/master.h"
#include "master/server/paths.h"
#include "runtime/await.h"
#include "wire/control.pb.h"
#include "wire/proto.h"

// The master as it is in production, on RocksDB and the machine's own files, called without a
// network.
namespace pangu::master {
namespace {

constexpr int kFiles = 10'000;

class Production {
 public:
  Production() {
    options.directory = folder.path() + "/master-1";
    boot();
    // One group of names, so that what is counted is in one place.
    CHECK(Master::init(*world, options.directory, {.namespace_groups = 1, .stream_groups = 1}).ok());
  }
  ~Production() {
    if (master) {
      stop();
    }
  }
  void boot() {
    world = std::move(*env::make_env(env::EnvKind::epoll));
    reactor = std::make_unique<Reactor>(*world, ReactorOptions{});
    pool = std::make_unique<BufferPool>(
        *world, BufferPoolOptions{.bytes = 4 * kMiB, .huge_pages = false, .registered = false});
  }
  Status open() {
    master = std::make_unique<Master>(*reactor, *pool, options);
    return run_blocking(*reactor, master->open());
  }
  void stop() {
    run_blocking(*reactor, master->stop());
    master.reset();
  }
  // As if the process had been killed: nothing is flushed, nothing is closed in order.
  void kill() {
    reactor->abandon();
    master.reset();
    pool.reset();
    reactor.reset();
    world.reset();
    boot();
  }
  template <class Request>
  Task<rpc::Reply> handle(wire::Method method, const Request& request) {
    const std::string bytes = request.SerializeAsString();
    rpc::Request call;
    call.method = method;
    call.deadline = Instant::never();
    call.body = Slice::copy_of(as_bytes_of(std::string_view(bytes)));
    return master->service().handle(std::move(call));
  }
  template <class Reply, class Request>
  Result<Reply> call(wire::Method method, const Request& request) {
    const rpc::Reply answer = run_blocking(*reactor, handle(method, request));
    if (answer.code != Code::kOk) {
      return Error(answer.code, answer.text);
    }
    Reply reply;
    CHECK(reply.ParseFromString(answer.body));
    return reply;
  }
  Result<pb::Place> place(const std::string& path, pb::Entry* found = nullptr) {
    const auto ask = [this](const pb::LookupRequest& request) {
      return call<pb::LookupReply>(wire::Method::lookup, request);
    };
    return test::place_of(master->map(), path, ask, found);
  }
  Result<pb::Entry> lookup(const std::string& path) {
    pb::Entry found;
    TRY_VOID(place(path, &found));
    return found.id() != 0 ? Result<pb::Entry>(found) : Error(Code::kNotFound, path);
  }
  Group& names() { return *master->group(wire::kFirstNamespaceGroup); }

  env::TemporaryDirectory folder;
  MasterOptions options;
  std::unique_ptr<env::Env> world;
  std::unique_ptr<Reactor> reactor;
  std::unique_ptr<BufferPool> pool;
  std::unique_ptr<Master> master;
};

std::string file_name(int i) { return "/d" + std::to_string(i % 10) + "/file-" + std::to_string(i); }

Task<void> make_files(Production& p, const std::vector<pb::Place>& directories, u64 client,
                      int first, int step) {
  u64 sequence = 0;
  for (int i = first; i < kFiles; i += step) {
    pb::CreateFileRequest request;
    *request.mutable_place() = directories[static_cast<size_t>(i % 10)];
    request.mutable_place()->set_name(fmt::format("file-{}", i));
    request.set_group(wire::kFirstNamespaceGroup);
    request.set_exclusive(true);
    wire::set(*request.mutable_id()->mutable_client(), Uuid{.high = 1, .low = client});
    request.mutable_id()->set_sequence(++sequence);
    request.mutable_id()->set_first_unanswered(sequence);
    auto reply = co_await p.handle(wire::Method::create_file, request);
    EXPECT_EQ(reply.code, Code::kOk) << reply.text;
  }
}

Task<void> make_in_parallel(Production& p, const std::vector<pb::Place>& directories, int clients) {
  Gate gate;
  for (int i = 0; i < clients; ++i) {
    gate.spawn(*p.reactor, "client", TaskClass::foreground,
               make_files(p, directories, static_cast<u64>(i) + 100, i, clients));
  }
  co_await gate.close();
}

void make_all(Production& p) {
  for (int i = 0; i < 10; ++i) {
    pb::MakeDirectoryRequest request;
    *request.mutable_place() = *p.place("/d" + std::to_string(i));
    request.set_group(wire::kFirstNamespaceGroup);
    wire::set(*request.mutable_id()->mutable_client(), Uuid{.high = 1, .low = 1});
    request.mutable_id()->set_sequence(static_cast<u64>(i) + 1);
    ASSERT_TRUE(p.call<pb::MakeDirectoryReply>(wire::Method::make_directory, request).ok());
  }
  std::vector<pb::Place> directories;
  for (int i = 0; i < 10; ++i) {
    directories.push_back(*p.place(fmt::format("/d{}/any", i)));
  }
  run_blocking(*p.reactor, make_in_parallel(p, directories, 100));
}

void expect_all(Production& p) {
  for (int i = 0; i < kFiles; ++i) {
    ASSERT_TRUE(p.lookup(file_name(i)).ok()) << i;
  }
  const auto info =
      p.call<pb::ClusterInfoReply>(wire::Method::cluster_info, pb::ClusterInfoRequest());
  EXPECT_EQ(info->files(), static_cast<u64>(kFiles));
  EXPECT_EQ(info->directories(), 11u);
}

TEST(MasterOnRocksDb, TenThousandFilesSurviveARestart) {
  Production p;
  p.options.rocks.block_cache_bytes = 256 * kKiB;
  ASSERT_TRUE(p.open().ok());
  make_all(p);
  p.stop();
  ASSERT_TRUE(p.open().ok());
  EXPECT_EQ(p.names().counters().applied, 0u);
  expect_all(p);
  // The cache was cold and is small: disk reads happened, none of them on the reactor.
  EXPECT_GT(p.names().counters().queries_in_background, 10u);
  // Commands too can need what is not in memory.
  pb::RenameRequest rename;
  for (int i = 0; i < 50; ++i) {
    *rename.mutable_from() = *p.place(file_name(i * 200));
    *rename.mutable_to() = *p.place("/moved-" + std::to_string(i));
    rename.set_group(wire::kFirstNamespaceGroup);
    wire::set(*rename.mutable_id()->mutable_client(), Uuid{.high = 1, .low = 7});
    rename.mutable_id()->set_sequence(static_cast<u64>(i) + 1);
    ASSERT_TRUE(p.call<pb::RenameReply>(wire::Method::rename, rename).ok());
  }
  EXPECT_GT(p.names().counters().applied_in_background, 0u);
}

TEST(MasterOnRocksDb, AKilledMasterReplaysItsLog) {
  Production p;
  p.options.rocks.write_buffer_bytes = 256 * kKiB;  // so that RocksDB flushes by itself, too
  ASSERT_TRUE(p.open().ok());
  make_all(p);
  const u64 hash = *content_hash(*p.names().kv().blocking_view());
  p.kill();
  ASSERT_TRUE(p.open().ok());
  EXPECT_GT(p.names().counters().applied, 0u);
  EXPECT_EQ(*content_hash(*p.names().kv().blocking_view()), hash);
  expect_all(p);
}

// Behind what the background pool has been given before.
Task<Unit> background_turn() {
  auto nothing = [] { return Unit{}; };
  auto done = co_await run_in_background(nothing);
  co_return done;
}

TEST(MasterOnRocksDb, TheLogIsCutAfterAFlush) {
  Production p;
  p.options.log.segment_bytes = 64 * kKiB;
  p.options.raft.log_keep_entries = 0;
  ASSERT_TRUE(p.open().ok());
  make_all(p);
  const std::string log = p.options.directory + "/log";
  EXPECT_GT(p.world->files().list(log)->size(), 10u);
  EXPECT_TRUE(run_blocking(*p.reactor, p.names().flush()).ok());
  // Segments go in the background.
  for (int i = 0; i < 500 && p.world->files().list(log)->size() > 2; ++i) {
    run_blocking(*p.reactor, background_turn());
  }
  EXPECT_LE(p.world->files().list(log)->size(), 2u);
  p.kill();
  ASSERT_TRUE(p.open().ok());
  expect_all(p);
}

}  // namespace
}  // namespace pangu::master
