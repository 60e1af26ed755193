#include "master/state/directory.h"

#include <gtest/gtest.h>

#include "master/state/harness.h"

namespace pangu::master {
namespace {

using test::Harness;

Result<pb::LookupReply> look(Harness& h, const std::string& path) {
  pb::LookupRequest request;
  request.set_path(path);
  return h.query([&](Txn& txn) { return lookup(txn, request); });
}

Result<pb::ListReply> list_of(Harness& h, const std::string& path, const std::string& after = "",
                              u32 limit = 0) {
  pb::ListRequest request;
  request.set_path(path);
  request.set_after(after);
  request.set_limit(limit);
  return h.query([&](Txn& txn) { return list(txn, request); });
}

std::vector<std::string> names_of(const pb::ListReply& reply) {
  std::vector<std::string> names;
  for (const pb::Entry& entry : reply.entries()) {
    names.push_back(entry.name());
  }
  return names;
}

TEST(Directory, RootIsThereFromTheStart) {
  Harness h;
  const auto root = look(h, "/");
  ASSERT_TRUE(root.ok());
  EXPECT_EQ(root->entry().type(), pb::ENTRY_DIRECTORY);
  EXPECT_EQ(root->entry().id(), 1u);
  EXPECT_TRUE(list_of(h, "/")->entries().empty());
}

TEST(Directory, FileKeepsItsIdAndOptions) {
  Harness h;
  pb::CreateFileRequest request;
  request.set_path("/f");
  request.mutable_options()->set_copies_max(5);
  request.mutable_options()->set_chunk_bytes(8 * kMiB);
  const auto made = h.call<pb::CreateFileReply>(wire::Method::create_file, request);
  ASSERT_TRUE(made.ok()) << made.error().message();
  EXPECT_TRUE(made->created());
  EXPECT_EQ(made->entry().options().copies_min(), 3u);
  EXPECT_GT(made->entry().created_us(), 0);
  const auto again = h.create("/f");
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(again->created());
  EXPECT_EQ(again->entry().id(), made->entry().id());
  EXPECT_EQ(again->entry().options().chunk_bytes(), 8 * kMiB);
  EXPECT_EQ(h.create("/f", true).code(), Code::kAlreadyExists);
  EXPECT_EQ(look(h, "/f")->entry().SerializeAsString(), again->entry().SerializeAsString());
  EXPECT_NE(h.create("/g")->entry().id(), made->entry().id());
  EXPECT_EQ(h.meta().files(), 2u);
}

TEST(Directory, BadOptionsAreRefused) {
  Harness h;
  const struct {
    u32 most, least;
    u64 chunk_bytes;
  } cases[] = {{3, 1, 0}, {2, 1, 0}, {3, 4, 0}, {8, 5, 0}, {3, 2, kMiB - 1}, {3, 2, 2 * kGiB + 1}};
  for (const auto& each : cases) {
    pb::CreateFileRequest request;
    request.set_path("/f");
    request.mutable_options()->set_copies_max(each.most);
    request.mutable_options()->set_copies_min(each.least);
    request.mutable_options()->set_chunk_bytes(each.chunk_bytes);
    EXPECT_EQ(h.call<pb::CreateFileReply>(wire::Method::create_file, request).code(),
              Code::kInvalidArgument);
  }
  EXPECT_EQ(look(h, "/f").code(), Code::kNotFound);
  EXPECT_EQ(h.meta().files(), 0u);
}

TEST(Directory, MissingAndWrongPartsAreTold) {
  Harness h;
  ASSERT_TRUE(h.create("/file").ok());
  ASSERT_TRUE(h.make_directory("/d").ok());
  EXPECT_EQ(h.create("/no/f").code(), Code::kNotFound);
  EXPECT_EQ(h.create("/file/f").code(), Code::kNotDirectory);
  EXPECT_EQ(h.create("/d").code(), Code::kIsDirectory);
  EXPECT_EQ(h.create("/").code(), Code::kIsDirectory);
  EXPECT_EQ(h.make_directory("/d").code(), Code::kAlreadyExists);
  EXPECT_EQ(h.make_directory("/").code(), Code::kAlreadyExists);
  EXPECT_TRUE(h.make_directory("/", true).ok());
  EXPECT_TRUE(h.make_directory("/d", true).ok());
  EXPECT_EQ(h.make_directory("/file", true).code(), Code::kAlreadyExists);
  EXPECT_EQ(h.make_directory("/file/x", true).code(), Code::kNotDirectory);
  EXPECT_EQ(h.make_directory("/x/y/z").code(), Code::kNotFound);
  EXPECT_TRUE(h.make_directory("/x/y/z", true).ok());
  EXPECT_EQ(h.meta().directories(), 5u);
  EXPECT_EQ(list_of(h, "/file").code(), Code::kNotDirectory);
  EXPECT_EQ(list_of(h, "/none").code(), Code::kNotFound);
  EXPECT_EQ(look(h, "/file/x").code(), Code::kNotDirectory);
  const auto missing = look(h, "/x/q/z");
  EXPECT_NE(missing.error().message().find("'/x/q'"), std::string::npos)
      << missing.error().message();
}

TEST(Directory, ADirectoryIdCanBePredicted) {
  Harness h;
  const auto a = h.make_directory("/a");
  const auto b = h.make_directory("/a/b");
  EXPECT_EQ(a->entry().id(), directory_id(1, "a", 0));
  EXPECT_EQ(b->entry().id(), directory_id(a->entry().id(), "b", 0));
}

TEST(Directory, RenamedAwayKeepsItsIdAndTheNameGetsAnother) {
  Harness h;
  const u64 first = h.make_directory("/a")->entry().id();
  for (int i = 0; i < 12; ++i) {
    ASSERT_TRUE(h.rename("/a", "/kept" + std::to_string(i)).ok());
    const u64 next = h.make_directory("/a")->entry().id();
    EXPECT_NE(next, first);
    if (i == 0) {
      EXPECT_EQ(next, directory_id(1, "a", 1));
    }
  }
  EXPECT_EQ(look(h, "/kept0")->entry().id(), first);
  // Removed and freed: version 0 is free again.
  ASSERT_TRUE(h.remove("/kept0").ok());
  ASSERT_TRUE(h.remove("/a").ok());
  EXPECT_EQ(h.make_directory("/a")->entry().id(), first);
}

TEST(Directory, RenameMovesFilesAndTrees) {
  Harness h;
  ASSERT_TRUE(h.make_directory("/a/b", true).ok());
  ASSERT_TRUE(h.make_directory("/c").ok());
  const u64 file = h.create("/a/b/f")->entry().id();
  ASSERT_TRUE(h.rename("/a/b/f", "/c/g").ok());
  EXPECT_EQ(look(h, "/a/b/f").code(), Code::kNotFound);
  EXPECT_EQ(look(h, "/c/g")->entry().id(), file);
  ASSERT_TRUE(h.rename("/c", "/a/b/c").ok());
  EXPECT_EQ(look(h, "/a/b/c/g")->entry().id(), file);
  EXPECT_EQ(look(h, "/c").code(), Code::kNotFound);
}

TEST(Directory, RenameRules) {
  Harness h;
  ASSERT_TRUE(h.make_directory("/a/b/c", true).ok());
  ASSERT_TRUE(h.make_directory("/d").ok());
  ASSERT_TRUE(h.create("/f").ok());
  ASSERT_TRUE(h.create("/g").ok());
  EXPECT_EQ(h.rename("/a", "/a/x").code(), Code::kInvalidArgument);
  EXPECT_EQ(h.rename("/a", "/a/b/c/x").code(), Code::kInvalidArgument);
  EXPECT_EQ(h.rename("/", "/x").code(), Code::kInvalidArgument);
  EXPECT_EQ(h.rename("/a", "/").code(), Code::kInvalidArgument);
  EXPECT_EQ(h.rename("/none", "/x").code(), Code::kNotFound);
  EXPECT_EQ(h.rename("/f", "/none/x").code(), Code::kNotFound);
  EXPECT_EQ(h.rename("/f", "/g/x").code(), Code::kNotDirectory);
  EXPECT_EQ(h.rename("/f", "/g").code(), Code::kAlreadyExists);
  EXPECT_EQ(h.rename("/f", "/d").code(), Code::kAlreadyExists);
  EXPECT_EQ(h.rename("/d", "/f").code(), Code::kAlreadyExists);
  EXPECT_EQ(h.rename("/f", "/f").code(), Code::kAlreadyExists);
  EXPECT_TRUE(h.rename("/a/b", "/d/b").ok());
  EXPECT_TRUE(h.rename("/a", "/d/b/c/a").ok());
}

TEST(Directory, RemoveOneByOne) {
  Harness h;
  ASSERT_TRUE(h.make_directory("/d").ok());
  ASSERT_TRUE(h.create("/d/f").ok());
  EXPECT_EQ(h.remove("/").code(), Code::kInvalidArgument);
  EXPECT_EQ(h.remove("/d").code(), Code::kNotEmpty);
  EXPECT_EQ(h.remove("/x").code(), Code::kNotFound);
  const auto file = h.remove("/d/f");
  EXPECT_EQ(file->files(), 1u);
  EXPECT_EQ(h.remove("/d/f").code(), Code::kNotFound);
  EXPECT_EQ(h.remove("/d")->directories(), 1u);
  EXPECT_EQ(h.meta().files(), 0u);
  EXPECT_EQ(h.meta().directories(), 1u);
  EXPECT_EQ(h.meta().reclaims(), 0u);
}

TEST(Directory, RecursiveRemovalIsAtomicAndFreedInBoundedSteps) {
  Harness h;
  constexpr u32 kFiles = 500;
  ASSERT_TRUE(h.make_directory("/t/a/b", true).ok());
  ASSERT_TRUE(h.make_directory("/t/c").ok());
  for (u32 i = 0; i < kFiles; ++i) {
    ASSERT_TRUE(h.create((i % 2 == 0 ? "/t/a/b/f" : "/t/f") + std::to_string(i)).ok());
  }
  ASSERT_TRUE(h.create("/keep").ok());

  pb::RemoveRequest request;
  request.set_path("/t");
  request.set_recursive(true);
  Harness::set_id(request, {.high = 1, .low = 2}, 1, 1);
  const record::Outcome outcome = h.apply(static_cast<u32>(wire::Method::remove), request);
  ASSERT_EQ(outcome.code(), 0u);
  EXPECT_NE(outcome.purge(), 0u);
  EXPECT_EQ(look(h, "/t").code(), Code::kNotFound);
  EXPECT_EQ(list_of(h, "/")->entries_size(), 1);
  // The name is free at once, with another id while the old one is being freed.
  EXPECT_EQ(h.make_directory("/t")->entry().id(), directory_id(1, "t", 1));

  int steps = 0;
  while (h.meta().reclaims() > 0) {
    record::Reclaim step;
    step.set_budget(50);
    h.internal(InternalMethod::reclaim, step);
    EXPECT_LT(h.last().batch.size(), 50u * 4);
    ASSERT_LT(++steps, 100);
  }
  EXPECT_GE(steps, 10);
  EXPECT_EQ(h.meta().files(), 1u);
  EXPECT_EQ(h.meta().directories(), 2u);
  // Asked again, the same request answers with the counts.
  const auto reply = h.call<pb::RemoveReply>(wire::Method::remove, request);
  EXPECT_EQ(reply->files(), kFiles);
  EXPECT_EQ(reply->directories(), 4u);
  // No record is left behind.
  EXPECT_TRUE(h.query([](Txn& txn) { return txn.scan_prefix("P", 1); }).entries.empty());
  EXPECT_EQ(h.query([](Txn& txn) { return txn.scan_prefix("E", 10); }).entries.size(), 2u);
  EXPECT_EQ(h.query([](Txn& txn) { return txn.scan_prefix("S", 10); }).entries.size(), 1u);
}

TEST(Directory, ListIsInByteOrderAndPaged) {
  Harness h;
  const std::vector<std::string> names{"B", "a", "a b", "b", "b0", "\xc3\xa9"};
  for (auto it = names.rbegin(); it != names.rend(); ++it) {
    ASSERT_TRUE(h.create("/" + *it).ok());
  }
  EXPECT_EQ(names_of(*list_of(h, "/")), names);
  std::vector<std::string> paged;
  std::string after;
  for (;;) {
    const auto page = list_of(h, "/", after, 2);
    ASSERT_TRUE(page.ok());
    EXPECT_LE(page->entries_size(), 2);
    for (const std::string& name : names_of(*page)) {
      paged.push_back(name);
    }
    if (!page->more()) {
      break;
    }
    after = paged.back();
  }
  EXPECT_EQ(paged, names);
  EXPECT_EQ(names_of(*list_of(h, "/", "a")), std::vector<std::string>(names.begin() + 2,
                                                                      names.end()));
  EXPECT_TRUE(list_of(h, "/", "\xf4\x8f\xbf\xbf")->entries().empty());
}

TEST(Directory, AHundredThousandEntriesArePaged) {
  Harness h;
  // Straight into the store: what is tested is reading.
  KvBatch batch;
  record::Entry entry;
  entry.set_type(pb::ENTRY_FILE);
  for (u64 i = 0; i < 100'000; ++i) {
    entry.set_id(i + 1);
    batch.emplace(keys::entry(1, fmt::format("{:0>150}", i)), entry.SerializeAsString());
  }
  ASSERT_TRUE(h.kv().apply(batch, MayWait::yes).ok());
  u64 next = 0;
  std::string after;
  for (int pages = 0;; ++pages) {
    ASSERT_LT(pages, 100);
    const auto page = list_of(h, "/", after, 50'000);
    ASSERT_TRUE(page.ok());
    EXPECT_LT(page->ByteSizeLong(), kMiB);
    for (const pb::Entry& each : page->entries()) {
      ASSERT_EQ(each.id(), ++next);
    }
    if (!page->more()) {
      break;
    }
    after = page->entries(page->entries_size() - 1).name();
  }
  EXPECT_EQ(next, 100'000u);
}

}  // namespace
}  // namespace pangu::master
