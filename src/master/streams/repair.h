#pragma once
#include <array>
#include <map>
#include <set>
#include <vector>

#include "base/prng.h"
#include "master/state/settled.h"
#include "master/streams/byte_budget.h"
#include "master/streams/repair_plan.h"
#include "master/streams/server_calls.h"
#include "master/streams/stream_group.h"
#include "runtime/reactor.h"

// Brings settled chunks back to their number of good copies, and off servers that are to be left
// (PROTOCOL 31, 32). Belongs to one term of a group's leader.
//
// What is to be done is found by scans: of table N (chunks that lack copies), and of the rows of table
// P on servers and devices that are dead, failed, removed or draining; once for each urgency, the most
// urgent first. A scan holds one page in memory, whatever there is to do. A copy is made by the
// target, which pulls from the source; then one command, bound to the chunk's version, lists it. Two
// leaders, or an old plan, cannot both succeed: the second one is refused, and what it copied is
// nobody's.
namespace pangu::master {

struct RepairOptions {
  u64 bytes_per_second = 64 * kMiB;
  size_t copies_max = 4;            // at once
  u32 copies_per_server = 2;        // of them, as source or target
  u32 page = 256;
  Duration retry = seconds(1);      // until the next scan, after one that found something to do
  Duration retry_max = seconds(60);
  Duration busy_retry = milliseconds(200);  // while copies under way are in the way of others
  Duration forget = seconds(60);    // what was learned about a chunk or server
  Duration call_timeout = seconds(10);
  Duration copy_timeout = seconds(30);  // and four times what it should take
  size_t remembered_max = 10'000;   // chunks that something was learned about
};

struct RepairCounters {
  u64 copies = 0;         // that are listed now
  u64 copied_bytes = 0;
  u64 failed_copies = 0;
  u64 refused = 0;        // the chunk had changed meanwhile
  u64 dropped = 0;        // replicas removed without another copy
  u64 good_after_all = 0;
  u64 bad_sources = 0;
  u64 scanned = 0;        // rows
};

class Repair {
 public:
  // All must outlive stop().
  Repair(Reactor& reactor, StreamGroup& group, ServerCalls& calls, const ServerWatch& watch,
         u64 term, const RepairOptions& options);
  void start();
  // More chunks may lack copies, the servers may be others, time has passed.
  void wake();
  bool deposed() const { return deposed_; }
  const RepairCounters& counters() const { return counters_; }
  size_t running() const { return running_.size(); }
  // Of servers that are draining or removed: how many replicas are still listed there, as the last
  // scan found. Absent: not scanned yet.
  const std::map<u32, u64>& left() const { return left_; }
  Task<void> stop();

 private:
  // All rows of table N of one urgency, or of table P on every place that is to be left.
  struct Scan {
    bool active = false;
    Instant due;
    Instant ended;      // the last round
    bool never = true;  // not due before something changes
    u32 idle = 0;       // rounds in which nothing could be begun
    u64 seen = 0;       // this round
    u64 begun = 0;
    bool busy = false;  // something waits for copies that are under way
    std::string after;  // table N
    size_t place = 0;   // table P
    std::optional<PlacedChunk> placed;
  };
  struct Work {
    ChunkId chunk;
    std::optional<SettledChunk> settled;
  };
  struct Page {
    std::vector<Work> work;
    bool finished = false;
  };
  // A server, or one device of it.
  struct LeftPlace {
    ServerId server;
    std::optional<Uuid> device;
    bool operator==(const LeftPlace&) const = default;
  };
  struct Memory {
    Instant until;
    Instant not_before;
    RepairFacts facts;
    u32 unanswered = 0;
  };

  bool working() const;
  Task<void> run();
  // repair_scan.cc
  void look_at_servers();
  Task<bool> take_census();
  void all_due();
  Scan* next_scan(size_t& urgency, bool& of_places, Instant& due);
  Task<void> go_on(Scan& scan, size_t urgency, bool of_places);
  Task<Result<Page>> short_page(Scan& scan, size_t urgency);
  Task<Result<Page>> places_page(Scan& scan, bool count);
  void finish(Scan& scan, bool count);
  // repair.cc
  bool remembered(const ChunkId& chunk);
  Memory& memory(const ChunkId& chunk);
  RepairFacts facts_of(const ChunkId& chunk);
  bool begin(const ChunkId& chunk);
  Task<void> repair(ChunkId chunk);
  Task<bool> verify(ChunkId id, SettledChunk chunk, std::vector<record::Replica> replicas);
  Task<bool> copy(ChunkId id, SettledChunk chunk, RepairPlan plan);
  Task<Result<u64>> copy_bytes(ChunkId id, SettledChunk chunk, RepairPlan plan);
  Task<bool> learn(ChunkId id, SettledChunk chunk, RepairPlan plan, Code code);
  Task<Status> change(ChunkId id, u32 version, RepairPlan plan, bool add);
  Task<void> erase_copy(ChunkId id, record::Replica target);
  void avoid_server(u32 server);

  Reactor& reactor_;
  StreamGroup& group_;
  ServerCalls& calls_;
  const ServerWatch& watch_;
  u64 term_;
  RepairOptions options_;
  Prng random_;
  ByteBudget budget_;

  std::array<Scan, kUrgencies> short_scans_;
  std::array<Scan, kUrgencies> place_scans_;
  std::vector<LeftPlace> places_;
  std::map<u32, Instant> census_of_;                 // devices_since that was looked at
  std::map<u32, std::vector<Uuid>> vanished_;
  u64 signature_ = 0;
  std::map<u32, u64> counting_;
  std::map<u32, u64> left_;

  std::set<ChunkId> running_;
  std::map<u32, u32> copies_on_;
  std::map<ChunkId, Memory> memory_;
  std::map<Location, Instant> full_devices_;         // until
  std::map<u32, Instant> bad_servers_;               // until
  bool busy_met_ = false;

  bool deposed_ = false;
  bool stopping_ = false;
  Event stop_;
  Event wake_;
  Gate gate_;
  RepairCounters counters_;
};

}  // namespace pangu::master
