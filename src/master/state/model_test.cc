#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <map>
#include <set>

#include "base/prng.h"
#include "master/state/directory.h"
#include "master/state/harness.h"
#include "master/state/rocks_kv.h"
#include "master/state/stream.h"

// Random commands: against a simple model of the namespace, against the invariants of streams, and
// against another store.
namespace pangu::master {
namespace {

using test::Harness;

// ---- the namespace, as a map of whole paths ----

class NamespaceModel {
 public:
  NamespaceModel() { nodes_["/"] = true; }

  Code create(const std::string& path, bool exclusive) {
    if (path == "/") {
      return Code::kIsDirectory;
    }
    if (const Code code = check_parent(path); code != Code::kOk) {
      return code;
    }
    if (const auto found = nodes_.find(path); found != nodes_.end()) {
      return found->second ? Code::kIsDirectory : exclusive ? Code::kAlreadyExists : Code::kOk;
    }
    nodes_[path] = false;
    return Code::kOk;
  }
  Code make_directory(const std::string& path) {
    if (path == "/") {
      return Code::kAlreadyExists;
    }
    if (const Code code = check_parent(path); code != Code::kOk) {
      return code;
    }
    return nodes_.emplace(path, true).second ? Code::kOk : Code::kAlreadyExists;
  }
  Code rename(const std::string& from, const std::string& to) {
    if (from == "/" || to == "/") {
      return Code::kInvalidArgument;
    }
    if (const Code code = check_parent(from); code != Code::kOk) {
      return code;
    }
    const auto found = nodes_.find(from);
    if (found == nodes_.end()) {
      return Code::kNotFound;
    }
    if (const Code code = check_parent(to); code != Code::kOk) {
      return code;
    }
    if (found->second && to.starts_with(from + "/")) {
      return Code::kInvalidArgument;
    }
    if (nodes_.contains(to)) {
      return Code::kAlreadyExists;
    }
    std::map<std::string, bool> moved;
    for (const auto& [path, directory] : tree(from)) {
      moved[to + path.substr(from.size())] = directory;
      nodes_.erase(path);
    }
    nodes_.insert(moved.begin(), moved.end());
    return Code::kOk;
  }
  Code remove(const std::string& path, bool recursive) {
    if (path == "/") {
      return Code::kInvalidArgument;
    }
    if (const Code code = check_parent(path); code != Code::kOk) {
      return code;
    }
    if (!nodes_.contains(path)) {
      return Code::kNotFound;
    }
    const auto gone = tree(path);
    if (gone.size() > 1 && !recursive) {
      return Code::kNotEmpty;
    }
    for (const auto& [each, directory] : gone) {
      nodes_.erase(each);
    }
    return Code::kOk;
  }
  const std::map<std::string, bool>& nodes() const { return nodes_; }

 private:
  static std::string parent(const std::string& path) {
    const size_t slash = path.rfind('/');
    return slash == 0 ? "/" : path.substr(0, slash);
  }
  // The first ancestor that is wrong decides.
  Code check_parent(const std::string& path) const {
    for (size_t slash = path.find('/', 1); slash != std::string::npos;
         slash = path.find('/', slash + 1)) {
      const auto found = nodes_.find(path.substr(0, slash));
      if (found == nodes_.end()) {
        return Code::kNotFound;
      }
      if (!found->second) {
        return Code::kNotDirectory;
      }
    }
    return Code::kOk;
  }
  std::map<std::string, bool> tree(const std::string& top) const {
    std::map<std::string, bool> out;
    for (const auto& [path, directory] : nodes_) {
      if (path == top || path.starts_with(top + "/")) {
        out[path] = directory;
      }
    }
    return out;
  }
  std::map<std::string, bool> nodes_;  // path -> is a directory
};

std::string random_path(Prng& random) {
  std::string path;
  for (u64 depth = random.between(0, 4); depth > 0; --depth) {
    path += "/" + std::string(1, static_cast<char>('a' + random.below(3)));
  }
  return path.empty() ? "/" : path;
}

void collect(Txn& txn, const std::string& path, std::map<std::string, bool>& into) {
  pb::ListRequest request;
  request.set_path(path);
  const auto reply = list(txn, request);
  ASSERT_TRUE(reply.ok()) << reply.error().message();
  into[path] = true;
  for (const pb::Entry& entry : reply->entries()) {
    const std::string child = (path == "/" ? "" : path) + "/" + entry.name();
    if (entry.type() == pb::ENTRY_DIRECTORY) {
      collect(txn, child, into);
    } else {
      into[child] = false;
    }
  }
}

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
  EXPECT_EQ(txn.scan_prefix("D", kAll).entries.size() + txn.scan_prefix("G", kAll).entries.size(),
            meta.directories() + txn.scan_prefix("G", kAll).entries.size());
  EXPECT_EQ(txn.scan_prefix("R", kAll).entries.size(), meta.sessions());
  EXPECT_EQ(txn.scan_prefix("L", kAll).entries.size(), meta.sessions());
  u64 chunks = 0;
  u64 files = 0;
  u64 reclaims = txn.scan_prefix("G", kAll).entries.size();
  for (const char* table : {"S", "H"}) {
    for (const KvEntry& entry : txn.scan_prefix(table, kAll).entries) {
      record::Stream stream;
      ASSERT_TRUE(txn.get(entry.key, stream));
      check_stream(stream);
      chunks += static_cast<u64>(stream.tail_size());
      (table[0] == 'S' ? files : reclaims) += 1;
      // Settled chunks join and end where the head says.
      const FileId file{keys::decode_u64(std::string_view(entry.key).substr(1))};
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
  EXPECT_EQ(files, meta.files());
  EXPECT_EQ(reclaims, meta.reclaims());
  EXPECT_FALSE(txn.failed());
}

TEST(Model, NamespaceAgreesWithTheModel) {
  const u64 seed = 20'24;
  SCOPED_TRACE(seed);
  Prng random(seed);
  Harness h;
  NamespaceModel model;
  for (int step = 0; step < 4000; ++step) {
    const std::string path = random_path(random);
    const std::string other = random_path(random);
    const bool flag = random.chance(0.5);
    const std::string what = fmt::format("step {}: {} {} {}", step, path, other, flag);
    switch (random.below(10)) {
      case 0:
      case 1:
      case 2:
        ASSERT_EQ(h.create(path, flag).code(), model.create(path, flag)) << what;
        break;
      case 3:
      case 4:
      case 5:
        ASSERT_EQ(h.make_directory(path).code(), model.make_directory(path)) << what;
        break;
      case 6:
      case 7:
        ASSERT_EQ(h.rename(path, other).code(), model.rename(path, other)) << what;
        break;
      case 8:
        ASSERT_EQ(h.remove(path, flag && step % 4 == 0).code(),
                  model.remove(path, flag && step % 4 == 0))
            << what;
        break;
      default: {
        record::Reclaim request;
        request.set_budget(static_cast<u32>(random.between(1, 20)));
        h.internal(InternalMethod::reclaim, request);
      }
    }
    if (step % 100 == 0) {
      std::map<std::string, bool> found;
      Txn txn(h.kv());
      collect(txn, "/", found);
      ASSERT_EQ(found, model.nodes());
      check_state(h.kv());
    }
  }
  h.reclaim_all();
  check_state(h.kv());
  EXPECT_EQ(h.meta().files() + h.meta().directories(), model.nodes().size());
}

// ---- streams under random, mostly sensible, often wrong commands ----

class RandomStreams {
 public:
  RandomStreams(Harness& h, u64 seed) : h_(h), random_(seed) { h_.add_servers(4); }

  void step() {
    const std::string path = "/f" + std::to_string(random_.below(4));
    const auto made = h_.create(path);
    const u64 file = made->entry().id();
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
          static_cast<void>(h_.remove(path));
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
};

TEST(Model, StreamsKeepTheirInvariants) {
  for (u64 seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(seed);
    Harness h;
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

TEST(Model, RocksDbAndMemoryEndUpEqual) {
  const TemporaryFolder folder;
  Harness memory;
  RandomStreams streams(memory, 77);
  Prng random(78);
  for (int step = 0; step < 1000; ++step) {
    streams.step();
    static_cast<void>(memory.make_directory(random_path(random), true));
    static_cast<void>(memory.rename(random_path(random), random_path(random)));
    static_cast<void>(memory.remove(random_path(random), true));
  }
  auto opened = open_rocks_kv(folder.path("kv"), {});
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  Harness rocks;
  rocks.restart_with(std::move(*opened));
  for (const record::Command& command : memory.commands()) {
    rocks.apply(command);
  }
  EXPECT_EQ(content_hash(rocks.kv()).value(), content_hash(memory.kv()).value());
  check_state(rocks.kv());
}

TEST(Model, TheSameCommandsGiveTheSameBytes) {
  Harness first;
  RandomStreams streams(first, 5);
  for (int step = 0; step < 300; ++step) {
    streams.step();
  }
  Harness second;
  for (const record::Command& command : first.commands()) {
    second.apply(command);
  }
  EXPECT_EQ(content_hash(second.kv()).value(), content_hash(first.kv()).value());
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
