#include "master/state/namespace.h"

#include <gtest/gtest.h>

#include "master/state/tree_rig.h"

namespace pangu::master {
namespace {

using test::code_of;
using test::Harness;
using test::TreeRig;
using test::Way;

const Way kRoot;

std::vector<std::string> names_of(const pb::ListReply& reply) {
  std::vector<std::string> names;
  for (const pb::Entry& entry : reply.entries()) {
    names.push_back(entry.name());
  }
  return names;
}

// Makes a directory and answers the way to it.
Way make(TreeRig& rig, const Way& way, const std::string& name, u64 version = 0) {
  const u64 home = rig.group_of(way.directory());
  EXPECT_EQ(rig.run(home, rig.make_directory_plan(way, name, version)), Code::kOk) << name;
  return way.below(rig.directory_id(way.directory(), name, version));
}

TEST(Namespace, TheRootDirectoryIsInOneGroupFromTheStart) {
  TreeRig rig;
  int groups = 0;
  for (const u64 id : rig.namespaces()) {
    groups += rig.query(id, [](Txn& txn) { return directory_exists(txn, 1); });
    EXPECT_EQ(rig.group(id).meta().directories(), rig.group_of(1) == id ? 1u : 0u);
  }
  EXPECT_EQ(groups, 1);
  const auto root = rig.look(kRoot, "");
  ASSERT_TRUE(root.ok()) << root.error().message();
  EXPECT_EQ(root->answers(0).result(), pb::LOOKUP_FOUND);
  EXPECT_EQ(root->answers(0).entry().type(), pb::ENTRY_DIRECTORY);
  EXPECT_EQ(root->answers(0).entry().id(), 1u);
  EXPECT_TRUE(rig.list_of(kRoot)->entries().empty());
}

TEST(Namespace, AFileKeepsItsIdAndOptions) {
  TreeRig rig;
  const u64 home = rig.group_of(1);
  pb::CreateFileRequest request = rig.create_request(kRoot, "f", false, rig.next_request());
  request.mutable_options()->set_copies_max(5);
  request.mutable_options()->set_chunk_bytes(8 * kMiB);
  const auto made =
      rig.group(home).call<pb::CreateFileReply>(wire::Method::create_file, request);
  ASSERT_TRUE(made.ok()) << made.error().message();
  EXPECT_TRUE(made->created());
  EXPECT_EQ(made->entry().options().copies_min(), 3u);
  EXPECT_GT(made->entry().created_us(), 0);
  const auto again = rig.create(kRoot, "f", false);
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(again->created());
  EXPECT_EQ(again->entry().SerializeAsString(), made->entry().SerializeAsString());
  EXPECT_EQ(rig.create(kRoot, "f").code(), Code::kAlreadyExists);
  EXPECT_EQ(rig.look(kRoot, "f")->answers(0).entry().SerializeAsString(),
            made->entry().SerializeAsString());
  EXPECT_EQ(rig.group(home).meta().files(), 1u);
}

// Each pair of groups counts without gaps, so that what is removed stays one range.
TEST(Namespace, FilesGoRoundAllStreamGroups) {
  TreeRig rig(3, 4);
  const u64 home = rig.group_of(1);
  std::map<u32, u64> last;
  for (int i = 0; i < 40; ++i) {
    const FileId id{rig.create(kRoot, fmt::format("f{}", i))->entry().id()};
    EXPECT_EQ((id.number >> wire::kFileCounterBits) & 0xfff, home - wire::kFirstNamespaceGroup);
    const u32 stream = wire::stream_index_of(id);
    ASSERT_LT(stream, 4u);
    const u64 counter = id.number & ((u64{1} << wire::kFileCounterBits) - 1);
    EXPECT_EQ(counter, last[stream] + 1);
    last[stream] = counter;
  }
  EXPECT_EQ(last.size(), 4u);
}

TEST(Namespace, BadOptionsAreRefused) {
  TreeRig rig;
  const struct {
    u32 most, least;
    u64 chunk_bytes;
  } cases[] = {{3, 1, 0}, {2, 1, 0}, {3, 4, 0}, {8, 5, 0}, {3, 2, kMiB - 1}, {3, 2, 2 * kGiB + 1}};
  for (const auto& each : cases) {
    pb::CreateFileRequest request = rig.create_request(kRoot, "f", true, rig.next_request());
    request.mutable_options()->set_copies_max(each.most);
    request.mutable_options()->set_copies_min(each.least);
    request.mutable_options()->set_chunk_bytes(each.chunk_bytes);
    EXPECT_EQ(rig.group(rig.group_of(1))
                  .call<pb::CreateFileReply>(wire::Method::create_file, request)
                  .code(),
              Code::kInvalidArgument);
  }
  EXPECT_EQ(rig.look(kRoot, "f")->answers(0).result(), pb::LOOKUP_NO_ENTRY);
}

TEST(Namespace, PlacesThatCannotBeAreRefused) {
  TreeRig rig;
  const auto code = [&](auto change) {
    pb::LookupRequest request;
    change(*request.add_places());
    return rig.look(rig.group_of(1), request).code();
  };
  const pb::Place good = test::place_of(kRoot, "f");
  EXPECT_EQ(code([&](pb::Place& place) { place = good; }), Code::kOk);
  EXPECT_EQ(code([](pb::Place&) {}), Code::kInvalidArgument);
  EXPECT_EQ(code([&](pb::Place& place) {
              place = good;
              place.set_directory(7);
            }),
            Code::kInvalidArgument);
  EXPECT_EQ(code([&](pb::Place& place) {
              place = good;
              place.set_name("a/b");
            }),
            Code::kInvalidArgument);
  EXPECT_EQ(code([&](pb::Place& place) {
              place = good;
              for (u64 i = 0; i < 70; ++i) {
                place.add_chain(i);
              }
              place.set_directory(69);
            }),
            Code::kInvalidArgument);
  EXPECT_EQ(code([&](pb::Place& place) {
              place.set_directory(5);
              place.add_chain(5);
            }),
            Code::kInvalidArgument);
  EXPECT_EQ(rig.create(kRoot, "").code(), Code::kInvalidArgument);
  EXPECT_EQ(rig.create(kRoot, "..").code(), Code::kInvalidArgument);
  pb::LookupRequest many;
  for (int i = 0; i <= kLookupPlacesMax; ++i) {
    *many.add_places() = good;
  }
  EXPECT_EQ(rig.look(rig.group_of(1), many).code(), Code::kInvalidArgument);
}

TEST(Namespace, DirectoriesSpreadOverGroupsAndSubtreesStayInTheirs) {
  TreeRig rig;
  std::map<u64, int> counts;
  for (int i = 0; i < 60; ++i) {
    const Way way = make(rig, kRoot, fmt::format("d{}", i));
    ++counts[rig.group_of(way.directory())];
    EXPECT_TRUE(rig.create(way, "f").ok());
  }
  EXPECT_EQ(counts.size(), 3u);
  const Way apart = make(rig, kRoot, "s");
  EXPECT_EQ(wire::subtree_of(apart.directory()), 5u);
  Way below = apart;
  for (int i = 0; i < 10; ++i) {
    below = make(rig, below, "x");
    EXPECT_EQ(wire::subtree_of(below.directory()), 5u);
    EXPECT_EQ(rig.group_of(below.directory()), rig.namespaces().back());
  }
  EXPECT_TRUE(rig.create(below, "f").ok());
}

TEST(Namespace, LookupsAnswerForGuessesToo) {
  TreeRig rig;
  const Way a = make(rig, kRoot, "a");
  const Way b = make(rig, a, "b");
  const u64 file = rig.create(b, "f")->entry().id();
  EXPECT_EQ(rig.look(b, "f", true)->answers(0).entry().id(), file);
  EXPECT_EQ(rig.look(b, "g", true)->answers(0).result(), pb::LOOKUP_NO_ENTRY);
  const Way nowhere = a.below(rig.directory_id(a.directory(), "nowhere", 0));
  EXPECT_EQ(rig.look(nowhere, "f", true)->answers(0).result(), pb::LOOKUP_NO_DIRECTORY);
  EXPECT_EQ(rig.look(nowhere, "f")->answers(0).result(), pb::LOOKUP_NO_DIRECTORY);
  EXPECT_EQ(rig.create(nowhere, "f").code(), Code::kStale);
  EXPECT_EQ(rig.list_of(nowhere).code(), Code::kStale);
  const auto self = rig.look(b, "");
  EXPECT_EQ(self->answers(0).entry().name(), "b");
  EXPECT_EQ(self->answers(0).entry().id(), b.directory());
  EXPECT_EQ(rig.create(kRoot, "a").code(), Code::kIsDirectory);
}

TEST(Namespace, OldWaysAreStaleAfterAMoveAndNewOnesAreGood) {
  TreeRig rig;
  const Way a = make(rig, kRoot, "a");
  const Way b = make(rig, a, "b");
  const Way c = make(rig, kRoot, "c");
  ASSERT_TRUE(rig.create(b, "f").ok());
  ASSERT_EQ(rig.run(wire::kRootGroup, rig.move_plan(kRoot, "a", c, "x", a.directory())),
            Code::kOk);
  for (const Way& old : {a, b}) {
    EXPECT_EQ(rig.look(old, "f").code(), Code::kStale);
    EXPECT_EQ(rig.create(old, "g").code(), Code::kStale);
    EXPECT_EQ(rig.list_of(old).code(), Code::kStale);
    EXPECT_EQ(rig.look(old, "f", true)->answers(0).moved(), 1u);
    EXPECT_EQ(rig.look(old, "f", true)->tree_epoch(), 1u);
  }
  // What did not move is good whenever it was seen.
  EXPECT_EQ(rig.look(c, "x")->answers(0).entry().id(), a.directory());
  EXPECT_EQ(rig.look(kRoot, "a")->answers(0).result(), pb::LOOKUP_NO_ENTRY);
  const Way now{{1, c.directory(), a.directory(), b.directory()}, 1};
  EXPECT_TRUE(rig.create(now, "g").ok());
  EXPECT_EQ(names_of(*rig.list_of(now)), (std::vector<std::string>{"f", "g"}));
  // The old name's directory gets another id while the first one lives.
  EXPECT_EQ(rig.run(rig.group_of(1), rig.make_directory_plan(kRoot, "a", 0)), Code::kConflict);
  EXPECT_NE(make(rig, kRoot, "a", 1).directory(), a.directory());
}

TEST(Namespace, WaysFromBeforeTheMovesThatAreRememberedAreStale) {
  TreeRig rig(1, 1);
  const u64 home = rig.group_of(1);
  const Way a = make(rig, kRoot, "a");
  const Way b = make(rig, kRoot, "b");
  // Straight into the store: what is tested is forgetting.
  KvBatch batch;
  record::Meta meta = rig.group(home).meta();
  for (u64 epoch = 1; epoch <= kMovesKept; ++epoch) {
    batch.emplace(keys::moved(1000 + epoch), keys::encode_u64(epoch));
    batch.emplace(keys::moved_at(epoch), keys::encode_u64(1000 + epoch));
  }
  meta.set_tree_epoch(kMovesKept);
  meta.set_moves_kept(kMovesKept);
  batch.emplace(keys::meta(), meta.SerializeAsString());
  ASSERT_TRUE(rig.group(home).kv().apply(batch, MayWait::yes).ok());
  record::Meta root = rig.group(wire::kRootGroup).meta();
  root.set_tree_epoch(kMovesKept);
  ASSERT_TRUE(rig.group(wire::kRootGroup)
                  .kv()
                  .apply({{keys::meta(), root.SerializeAsString()}}, MayWait::yes)
                  .ok());
  EXPECT_TRUE(rig.create(b, "f").ok());
  ASSERT_EQ(rig.run(wire::kRootGroup, rig.move_plan(kRoot, "a", kRoot, "x", a.directory())),
            Code::kOk);
  EXPECT_EQ(rig.group(home).meta().moves_kept(), kMovesKept);
  EXPECT_EQ(rig.group(home).meta().tree_floor(), 1u);
  EXPECT_EQ(rig.create(b, "g").code(), Code::kStale);
  Way seen = b;
  seen.seen = 1;
  EXPECT_TRUE(rig.create(seen, "g").ok());
  // The same directory again takes no second row.
  seen = a;
  ASSERT_EQ(rig.run(wire::kRootGroup, rig.move_plan(Way{{1}, 1}, "x", Way{{1}, 1}, "y",
                                                    a.directory())),
            Code::kOk);
  EXPECT_EQ(rig.group(home).meta().moves_kept(), kMovesKept);
  EXPECT_EQ(rig.group(home).meta().tree_floor(), 1u);
}

TEST(Namespace, ListIsInByteOrderAndPaged) {
  TreeRig rig;
  const std::vector<std::string> names{"B", "a", "a b", "b", "b0", "\xc3\xa9"};
  for (auto it = names.rbegin(); it != names.rend(); ++it) {
    ASSERT_TRUE(rig.create(kRoot, *it).ok());
  }
  EXPECT_EQ(names_of(*rig.list_of(kRoot)), names);
  std::vector<std::string> paged;
  for (bool more = true; more;) {
    const auto page = rig.list_of(kRoot, paged.empty() ? "" : paged.back(), 2);
    ASSERT_TRUE(page.ok());
    EXPECT_LE(page->entries_size(), 2);
    for (const std::string& name : names_of(*page)) {
      paged.push_back(name);
    }
    more = page->more();
  }
  EXPECT_EQ(paged, names);
  EXPECT_EQ(names_of(*rig.list_of(kRoot, "a")),
            std::vector<std::string>(names.begin() + 2, names.end()));
  EXPECT_TRUE(rig.list_of(kRoot, "\xf4\x8f\xbf\xbf")->entries().empty());
}

TEST(Namespace, AListWaitsOnlyForLocksOfItsPage) {
  TreeRig rig(1, 1);
  const u64 home = rig.group_of(1);
  for (const char* name : {"a", "c", "e", "g"}) {
    ASSERT_TRUE(rig.create(kRoot, name).ok());
  }
  record::Prepare prepare;
  record::Part& part = *prepare.mutable_part();
  part.mutable_txn()->set_group(4099);
  part.mutable_txn()->set_term(1);
  part.mutable_txn()->set_number(1);
  *part.add_ways() = test::record_of(kRoot);
  record::AddEntry& add = *part.add_steps()->mutable_add_entry();
  add.set_directory(1);
  add.set_name("d");
  add.mutable_entry()->set_type(pb::ENTRY_FILE);
  add.mutable_entry()->set_id(77);
  ASSERT_EQ(rig.apply(home, InternalMethod::prepare, prepare).code(), 0u);
  EXPECT_EQ(rig.list_of(kRoot).code(), Code::kBusy);
  EXPECT_EQ(names_of(*rig.list_of(kRoot, "", 2)), (std::vector<std::string>{"a", "c"}));
  EXPECT_EQ(rig.list_of(kRoot, "", 3).code(), Code::kBusy);
  EXPECT_EQ(rig.list_of(kRoot, "c", 1).code(), Code::kBusy);
  EXPECT_EQ(names_of(*rig.list_of(kRoot, "d")), (std::vector<std::string>{"e", "g"}));
  EXPECT_EQ(rig.look(kRoot, "d").code(), Code::kBusy);
  EXPECT_EQ(rig.create(kRoot, "d").code(), Code::kBusy);
  EXPECT_TRUE(rig.look(kRoot, "c").ok());
}

TEST(Namespace, AHundredThousandEntriesArePaged) {
  TreeRig rig(1, 1);
  // Straight into the store: what is tested is reading.
  KvBatch batch;
  record::Entry entry;
  entry.set_type(pb::ENTRY_FILE);
  for (u64 i = 0; i < 100'000; ++i) {
    entry.set_id(i + 1);
    batch.emplace(keys::entry(1, fmt::format("{:0>150}", i)), entry.SerializeAsString());
  }
  ASSERT_TRUE(rig.group(rig.group_of(1)).kv().apply(batch, MayWait::yes).ok());
  u64 next = 0;
  std::string after;
  for (int pages = 0;; ++pages) {
    ASSERT_LT(pages, 100);
    const auto page = rig.list_of(kRoot, after, 50'000);
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

TEST(Namespace, CommandsOfOtherKindsOfGroupsAreRefused) {
  TreeRig rig;
  const auto refused = [&](u64 group, u32 method) {
    record::Command command;
    command.set_method(method);
    return code_of(rig.group(group).apply(command));
  };
  const u64 name = rig.namespaces().front();
  const u64 stream = rig.streams().front();
  const auto wire_method = [](wire::Method method) { return static_cast<u32>(method); };
  const auto internal = [](InternalMethod method) { return static_cast<u32>(method); };
  for (const u64 group : {wire::kRootGroup, stream}) {
    EXPECT_EQ(refused(group, wire_method(wire::Method::create_file)), Code::kInvalidArgument);
    EXPECT_EQ(refused(group, internal(InternalMethod::prepare)), Code::kInvalidArgument);
  }
  for (const u64 group : {wire::kRootGroup, name}) {
    EXPECT_EQ(refused(group, wire_method(wire::Method::open_for_append)),
              Code::kInvalidArgument);
    EXPECT_EQ(refused(group, internal(InternalMethod::change_replicas)), Code::kInvalidArgument);
  }
  for (const u64 group : {name, stream}) {
    EXPECT_EQ(refused(group, wire_method(wire::Method::register_server)),
              Code::kInvalidArgument);
    EXPECT_EQ(refused(group, wire_method(wire::Method::change_map)), Code::kInvalidArgument);
  }
  EXPECT_EQ(refused(stream, internal(InternalMethod::commit)), Code::kInvalidArgument);
  // Leaders make commits of these.
  for (const wire::Method method : {wire::Method::make_directory, wire::Method::rename,
                                    wire::Method::remove, wire::Method::lookup}) {
    EXPECT_EQ(refused(name, wire_method(method)), Code::kInvalidArgument);
  }
}

}  // namespace
}  // namespace pangu::master
