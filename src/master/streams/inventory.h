#pragma once
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "master/state/settled.h"
#include "master/streams/server_calls.h"
#include "master/streams/server_watch.h"
#include "master/streams/stream_group.h"
#include "runtime/reactor.h"

// Compares what chunkservers hold with what the state says that they hold. Belongs to one term of a
// group's leader.
//
// Invariants
// 1. A replica is called missing only if its chunk was settled before the server was asked: a page of
//    table P is read first, then the server's chunks between the same ids.
// 2. What nobody lists is erased only after two full reports, `orphan_grace` or more apart, in which
//    it was there; and whether it is anybody's is decided when the command is applied.
// 3. Memory is bounded: pages on both sides, and orphans_max candidates a device.
namespace pangu::master {

struct InventoryOptions {
  Duration interval = seconds(600);      // between full reports of a device
  Duration orphan_grace = seconds(1800);
  Duration changes_interval = seconds(30);
  Duration changes_pause = seconds(5);   // sooner, if the number of its chunks has changed
  u32 page = 1000;
  size_t at_once = 4;                    // devices
  size_t checks_max = 100;               // single chunks asked for after one report of changes
  size_t orphans_max = 10'000;
  Duration call_timeout = seconds(10);
  Duration retry = seconds(10);
};

struct InventoryCounters {
  u64 full_reports = 0;
  u64 change_reports = 0;
  u64 failures = 0;
  u64 missing = 0;        // marked suspect: not there, short, or damaged
  u64 orphans_seen = 0;   // by the last full report of each device
  u64 orphans_erased = 0;
};

class Inventory {
 public:
  // `reported` is called after each full report. All must outlive stop().
  Inventory(Reactor& reactor, StreamGroup& group, ServerCalls& calls, const ServerWatch& watch,
            u64 term, const InventoryOptions& options, std::function<void(ServerId)> reported);
  void start();
  // Time has passed, and the servers may be others.
  void wake();
  bool deposed() const { return deposed_; }
  InventoryCounters counters() const;
  Task<void> stop();

 private:
  struct Device {
    bool busy = false;
    u64 appeared = 0;       // as of the last full report
    bool reported = false;  // there was one
    Instant full_at;        // when the next one is due
    Instant changes_at;
    u64 change = 0;
    u64 chunks = 0;         // by the heartbeat, at the last report
    std::map<ChunkId, Instant> orphans;  // since when
  };
  // One full report under way.
  struct Report {
    Location location;
    std::string address;
    Instant began;
    u64 change = 0;
    std::optional<ChunkId> after;
    bool first_page = true;
    std::set<ChunkId> orphans;
    std::vector<record::MarkReplicas::One> marks;
  };
  bool working() const;
  Task<void> run();
  Task<void> full_report(Location location);
  Task<bool> report_range(Report& report);
  Task<bool> report_page(Report& report, const std::vector<PlacedChunk>& expected, size_t& at,
                         std::optional<ChunkId> until, std::optional<ChunkId>& position, bool& more);
  Task<bool> note_unlisted(Report& report, std::vector<ChunkId> held);
  Task<bool> mark(std::vector<record::MarkReplicas::One>& marks);
  Task<bool> erase_old_orphans(const Report& report, Device& device);
  Task<void> change_report(Location location);
  Task<bool> look_at_changes(Location location, Device& device);
  Task<bool> check_suspicious(Location location, std::string address, std::vector<ChunkId> chunks);
  pb::ListChunksRequest request_for(const Location& location) const;
  Task<Result<pb::ListChunksReply>> list(Location location, std::string address,
                                         pb::ListChunksRequest request);

  Reactor& reactor_;
  StreamGroup& group_;
  ServerCalls& calls_;
  const ServerWatch& watch_;
  u64 term_;
  InventoryOptions options_;
  std::function<void(ServerId)> reported_;
  std::map<Location, Device> devices_;
  size_t busy_ = 0;
  bool deposed_ = false;
  bool stopping_ = false;
  Event wake_;
  Gate gate_;
  InventoryCounters counters_;
};

}  // namespace pangu::master
