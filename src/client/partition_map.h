#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "env/env.h"
#include "wire/control.pb.h"
#include "wire/partition.h"

// What the client knows of the partition map: which group has what, and which masters are its
// members. Ids of groups: wire/partition.h.
//
// Invariants
// 1. It never goes back to an older version.
// 2. masters() and members() are never empty: where nothing is known, they are the addresses that
//    the user gave.
namespace pangu::client {

class PartitionMap {
 public:
  // REQUIRES: !seeds.empty()
  explicit PartitionMap(std::vector<env::Address> seeds);

  // A map has been learned.
  bool known() const { return known_; }
  u64 version() const { return version_; }
  // Takes it over unless it is older than what is here. kBadFrame says what cannot be; then nothing
  // changes.
  Status learn(const pb::PartitionMap& map);

  // The namespace group that has the directory's entries; none: it belongs to a subtree that this
  // map does not know.
  std::optional<u64> group_of_directory(u64 directory) const;
  static u64 group_of_file(FileId file) { return wire::stream_group_of(file); }
  // The id that the directory `name` in `parent` almost certainly has, if it is there.
  u64 guess_child(u64 parent, std::string_view name) const;

  // Where members of the group stand; all masters if that is not known.
  const std::vector<env::Address>& members(u64 group) const;
  // Who led the group when the map was made, if that is known.
  std::optional<env::Address> leader(u64 group) const;
  // Every master that the map names, then the user's.
  const std::vector<env::Address>& masters() const { return masters_; }

 private:
  struct Group {
    std::vector<env::Address> members;
    std::optional<env::Address> leader;
  };
  struct Place {
    u64 parent = 0;
    std::string name;
    auto operator<=>(const Place&) const = default;
  };

  const std::vector<env::Address> seeds_;
  bool known_ = false;
  u64 version_ = 0;
  std::vector<env::Address> masters_;
  std::map<u64, Group> groups_;
  std::map<u32, std::vector<u32>> partitions_;  // by subtree
  std::map<Place, u64> roots_;                  // directories that are roots of subtrees
};

}  // namespace pangu::client
