#include "master/group/placement.h"

#include <gtest/gtest.h>
#include <map>
#include <set>

#include "base/prng.h"

namespace pangu::master {
namespace {

// One letter a server, its rack: "aabbc".
std::vector<PlacementServer> cluster(std::string_view racks) {
  std::vector<PlacementServer> servers;
  for (u32 i = 0; i < racks.size(); ++i) {
    servers.push_back({.server = {i + 1},
                       .rack = std::string(1, racks[i]),
                       .usable = {{Uuid{.high = 1, .low = i + 1}, 100 * kGiB}},
                       .has_devices = true,
                       .alive = true});
  }
  return servers;
}

std::set<u32> servers_of(const record::Layout& layout) {
  std::set<u32> out;
  for (const record::Replica& replica : layout.replicas()) {
    out.insert(replica.server());
  }
  return out;
}

size_t racks_of(const std::vector<PlacementServer>& servers, const record::Layout& layout) {
  std::set<std::string> out;
  for (const u32 server : servers_of(layout)) {
    out.insert(servers[server - 1].rack);
  }
  return out.size();
}

struct Case {
  const char* racks;
  const char* dead;      // server numbers, one digit each
  const char* excluded;
  const char* doubtful;
  u32 copies;            // expected; 0: none
  u32 expected_racks;
  bool underspread;
};

TEST(Placement, Table) {
  const Case cases[] = {
      {"abc", "", "", "", 3, 3, false},
      {"aaa", "", "", "", 3, 1, false},       // one rack: everything in it
      {"aab", "", "", "", 3, 2, false},       // two racks: both
      {"aaaab", "", "", "", 3, 2, false},
      {"aabbcc", "", "", "", 3, 3, false},
      {"ab", "", "", "", 2, 2, true},         // two servers: both must acknowledge
      {"a", "", "", "", 0, 0, false},
      {"", "", "", "", 0, 0, false},
      {"abc", "3", "", "", 2, 2, true},       // one of three is dead
      {"abc", "23", "", "", 0, 0, false},
      {"abcd", "1", "", "", 3, 3, false},
      {"abc", "", "3", "", 2, 2, true},       // rather fewer than on one that failed the caller
      {"abc", "", "23", "", 2, 2, true},      // but at least the minimum
      {"abc", "", "123", "", 2, 2, true},
      {"abcd", "", "1", "", 3, 3, false},
      {"abcd", "", "", "12", 3, 3, false},    // not heard yet: used when needed
      {"abcde", "", "", "12", 3, 3, false},
      {"abc", "", "", "123", 3, 3, false},
      {"aaab", "4", "", "", 0, 0, false},     // never in fewer racks than copies_min
      {"aabbc", "345", "", "", 0, 0, false},
      {"aabbc", "5", "", "", 3, 2, true},     // a rack is gone: double up in the others
      {"aaab", "", "4", "", 3, 2, false},     // excluded, but the only second rack
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(fmt::format("racks {} dead {} excluded {} doubtful {}", each.racks, each.dead,
                             each.excluded, each.doubtful));
    auto servers = cluster(each.racks);
    PlacementRequest request{.copies_max = 3, .copies_min = 2, .exclude = {}, .seed = 0};
    std::set<u32> excluded;
    for (const char* c = each.dead; *c != 0; ++c) {
      servers[static_cast<size_t>(*c - '1')].alive = false;
    }
    for (const char* c = each.excluded; *c != 0; ++c) {
      request.exclude.push_back(static_cast<u32>(*c - '0'));
    }
    for (const char* c = each.doubtful; *c != 0; ++c) {
      servers[static_cast<size_t>(*c - '1')].doubtful = true;
    }
    Placer placer;
    for (request.seed = 0; request.seed < 50; ++request.seed) {
      const auto layout = placer.place(servers, request);
      if (each.copies == 0) {
        ASSERT_EQ(layout.code(), Code::kNoPlacement);
        continue;
      }
      ASSERT_TRUE(layout.ok()) << layout.error().message();
      EXPECT_EQ(layout->copies_max(), each.copies);
      EXPECT_EQ(layout->copies_min(), 2u);
      EXPECT_EQ(servers_of(*layout).size(), each.copies);
      EXPECT_EQ(static_cast<u32>(layout->replicas_size()), each.copies);
      EXPECT_EQ(racks_of(servers, *layout), each.expected_racks);
      EXPECT_EQ(layout->underspread(), each.underspread);
      for (const u32 server : servers_of(*layout)) {
        EXPECT_TRUE(servers[server - 1].alive);
      }
    }
  }
}

TEST(Placement, TheErrorSaysWhatIsMissing) {
  auto servers = cluster("abcd");
  servers[0].alive = false;
  servers[1].alive = false;
  servers[2].usable.clear();
  const auto layout = Placer().place(servers, {.copies_max = 3, .copies_min = 2});
  ASSERT_EQ(layout.code(), Code::kNoPlacement);
  EXPECT_NE(layout.error().message().find("of 4 chunkservers 2 are silent and 1 have no device"),
            std::string::npos)
      << layout.error().message();
}

TEST(Placement, TheSameSeedGivesTheSamePlaces) {
  const auto servers = cluster("aabbccdd");
  Placer first;
  Placer second;
  std::set<std::string> different;
  for (u64 seed = 0; seed < 100; ++seed) {
    const PlacementRequest request{.copies_max = 3, .copies_min = 2, .exclude = {}, .seed = seed};
    const std::string layout = first.place(servers, request)->SerializeAsString();
    EXPECT_EQ(layout, second.place(servers, request)->SerializeAsString());
    different.insert(layout);
  }
  EXPECT_GT(different.size(), 5u);
}

TEST(Placement, CopysetsKeepEachServersPartnersFew) {
  std::string racks;
  for (int i = 0; i < 60; ++i) {
    racks += static_cast<char>('a' + i % 10);
  }
  const auto servers = cluster(racks);
  Placer placer;
  std::map<u32, std::set<u32>> partners;
  std::map<u32, u32> uses;
  for (u64 seed = 0; seed < 5000; ++seed) {
    const auto layout =
        placer.place(servers, {.copies_max = 3, .copies_min = 2, .exclude = {}, .seed = seed});
    ASSERT_TRUE(layout.ok());
    ASSERT_EQ(racks_of(servers, *layout), 3u);
    const auto chosen = servers_of(*layout);
    for (const u32 server : chosen) {
      partners[server].insert(chosen.begin(), chosen.end());
      ++uses[server];
    }
  }
  EXPECT_EQ(uses.size(), 60u);
  for (const auto& [server, others] : partners) {
    EXPECT_LE(others.size(), 1 + 16u + 4u);  // itself, two in each of eight groups, leftovers
    EXPECT_GT(uses[server], 100u);           // 250 on average
    EXPECT_LT(uses[server], 500u);
  }
}

TEST(Placement, EmptierServersAndDevicesGetMore) {
  auto servers = cluster("abcdef");
  servers[0].usable[0].free_bytes = kGiB;
  servers[1].usable.push_back({Uuid{.high = 2, .low = 2}, 300 * kGiB});
  Placer placer;
  std::map<u32, u32> uses;
  std::map<u64, u32> devices;
  for (u64 seed = 0; seed < 3000; ++seed) {
    const auto layout =
        placer.place(servers, {.copies_max = 2, .copies_min = 2, .exclude = {}, .seed = seed});
    for (const record::Replica& replica : layout->replicas()) {
      ++uses[replica.server()];
      if (replica.server() == 2) {
        ++devices[replica.device_high()];
      }
    }
  }
  EXPECT_LT(uses[1] * 10, uses[3]);
  EXPECT_GT(devices[2], 2 * devices[1]);
}

TEST(Placement, RandomClustersObeyTheRules) {
  Prng random(99);
  for (int round = 0; round < 500; ++round) {
    std::string racks;
    for (u64 i = random.between(1, 12); i > 0; --i) {
      racks += static_cast<char>('a' + random.below(4));
    }
    auto servers = cluster(racks);
    for (PlacementServer& server : servers) {
      server.alive = random.chance(0.8);
      server.doubtful = random.chance(0.2);
    }
    PlacementRequest request{.seed = random.next()};
    request.copies_max = static_cast<u32>(random.between(1, 5));
    request.copies_min = request.copies_max / 2 + 1;
    for (u32 server = 1; server <= racks.size(); ++server) {
      if (random.chance(0.2)) {
        request.exclude.push_back(server);
      }
    }
    Placer placer;
    const auto layout = placer.place(servers, request);
    std::set<std::string> all_racks;
    std::set<std::string> live_racks;
    u32 live = 0;
    for (const PlacementServer& server : servers) {
      all_racks.insert(server.rack);
      if (server.alive) {
        live_racks.insert(server.rack);
        ++live;
      }
    }
    const size_t racks_needed = std::min<size_t>(request.copies_min, all_racks.size());
    const bool possible = live >= request.copies_min && live_racks.size() >= racks_needed;
    ASSERT_EQ(layout.ok(), possible) << racks;
    if (possible) {
      EXPECT_GE(layout->copies_max(), request.copies_min);
      EXPECT_LE(layout->copies_max(), request.copies_max);
      EXPECT_GE(racks_of(servers, *layout), racks_needed);
      EXPECT_EQ(servers_of(*layout).size(), layout->copies_max());
    }
  }
}

}  // namespace
}  // namespace pangu::master
