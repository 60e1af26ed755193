#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "master/state/record.pb.h"

// Where the copies of a new chunk go. A pure function of the servers as they look now, the request
// and a seed.
//
// Rules
// 1. Copies are on different servers, and on as many racks as there are, never in fewer racks than
//    copies_min (or than there are registered racks).
// 2. Servers that are silent, or have no usable device, get nothing. Servers that the caller excludes,
//    or that were not heard from since this master began, only get what the others cannot take:
//    excluded ones only to reach copies_min.
// 3. With fewer usable servers than copies_max, but at least copies_min, the chunk is listed with that
//    many copies, all numbers from its creation on (PROTOCOL 33), and marked underspread.
// 4. Servers are combined in copysets: each is in a small number of fixed groups, so that the loss of
//    some servers at once seldom takes all copies of anything. Groups are chosen by free space.
namespace pangu::master {

struct PlacementDevice {
  Uuid device;
  u64 free_bytes = 0;
};

struct PlacementServer {
  ServerId server;
  std::string rack;
  // Not failed, not full.
  std::vector<PlacementDevice> usable;
  bool has_devices = false;  // any at all
  bool alive = false;
  bool doubtful = false;     // not heard from since this master began
};

struct PlacementRequest {
  u32 copies_max = 0;
  u32 copies_min = 0;
  std::vector<u32> exclude;
  u64 seed = 0;
};

class Placer {
 public:
  // `servers`: every registered one, ascending by id. Groups are made anew when these, their racks
  // or whether they have devices change; say so by servers_changed().
  void servers_changed() { groups_.clear(); }
  // kNoPlacement says what is missing.
  Result<record::Layout> place(const std::vector<PlacementServer>& servers,
                               const PlacementRequest& request);

 private:
  using Group = std::vector<size_t>;  // places in `servers`
  const std::vector<Group>& groups_of(const std::vector<PlacementServer>& servers, u32 size);

  std::map<u32, std::vector<Group>> groups_;  // by copies
};

}  // namespace pangu::master
