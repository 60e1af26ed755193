#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/intrusive_list.h"
#include "env/env.h"
#include "env/sim/page_store.h"

// The disks of a simulated node. They outlive its processes.
//
// THE FAULT MODEL, as a contract.
//
// What a disk always keeps, whatever happens (unless "beyond the contract" below is switched on):
//   1. A durable_write that completed with success, and every write that completed before a flush
//      began that completed with success.
//   2. The names in the file system, and replace_file, at the moment the call returns. replace_file
//      is all or nothing.
//   3. Bytes that no unfinished or volatile write names: a torn write harms nothing beside itself.
//
// What a system on top must survive on every disk at any time:
//   a. Power loss: each write that is not durable by 1., also one that was still in flight, and
//   also a
//      resize, is on its own kept, lost or torn. Torn: each 512- or 4096-byte sector (the disk's
//      choice) is on its own kept or lost; so later writes can survive earlier ones. A sector
//      itself is never half written.
//   b. Death of the process: what completed stays readable (though volatile until a flush or power
//      loss); each write in flight is kept, lost or torn.
//   c. Latency: any operation can be slow, and completions come in any order.
//   d. ENOSPC when the capacity is used up; EIO of reads, writes and flushes. After a flush failed
//   with
//      EIO, the writes it covered read back but will never become durable (later flushes succeed
//      and do not help), as on Linux.
//
// What a system must survive on as many disks as its redundancy allows at a time (replicas - 1):
//   e. The disk hangs: nothing completes until it is released, or ever.
//   f. The disk is dead, or was replaced by a blank one.
//   g. Stored bits flip; a read returns them without an error.
//
// Beyond the contract: switched on only to see what happens. A system may lose data then, and the
// checks of a simulation have to allow for it.
//   h. A flush that lies (lost_flush_rate), a write that lands elsewhere (misdirect_rate).
namespace pangu::env::sim {

class World;
class Node;
class SimEnv;
struct Event;

enum class Crash : u8 {
  process,  // kill -9: the kernel lives on; what was written stays, the peers' connections are
            // closed
  power,    // the host goes dark: volatile writes are at the seed's mercy, the peers hear nothing
};

struct DiskOptions {
  u64 capacity = 0;  // bytes of pages in use; 0: no limit
  // Latency = base + a draw below jitter (often) or below 16 * jitter (sometimes).
  Duration read_base = microseconds(60), read_jitter = microseconds(30);
  Duration write_base = microseconds(15), write_jitter = microseconds(15);
  Duration flush_base = microseconds(60), flush_jitter = microseconds(60);
  u64 bytes_per_second = 2'000'000'000;
  bool volatile_cache = true;  // false: a write is durable as soon as it completes
  double slow_rate = 0;        // an operation takes a draw below slow_max more
  Duration slow_max = milliseconds(50);
  double read_error_rate = 0, write_error_rate = 0, flush_error_rate = 0;
  double bit_flip_rate = 0;  // of writes: one stored bit is wrong afterwards
  double lost_flush_rate = 0, misdirect_rate = 0;
  TearModel tear;
};

struct DiskCounters {
  u64 reads = 0, writes = 0, flushes = 0;
  u64 bytes_read = 0, bytes_written = 0;
  u64 errors = 0;  // made by the fault model
  u64 in_flight_at_crash = 0;
};

// One file's bytes; handles and the name both share it.
struct Inode {
  Inode(PagePool& pool, std::shared_ptr<u64> disk_usage) : store(pool, std::move(disk_usage)) {}
  PageStore store;
  const SimEnv* locked_by = nullptr;  // one opener with OpenOptions::lock in a process's life
  bool gone = false;                  // its disk was replaced
};

enum class DiskAction : u8 { read, write, flush };

class Disk {
 public:
  Disk(World& world, Node& node, std::string_view mount, const DiskOptions& options);
  ~Disk();
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  const std::string& mount() const { return mount_; }
  DiskOptions& options() { return options_; }  // may be changed at any time
  const DiskCounters& counters() const { return counters_; }
  u64 used() const { return *used_; }  // bytes of pages in use

  // Every latency times `factor` from now on.
  void slow_down(u32 factor) { slow_factor_ = factor; }
  // While stuck nothing completes; release lets the held operations complete soon.
  void set_stuck(bool stuck);
  bool stuck() const { return stuck_; }
  // The next `count` operations of a kind fail with EIO.
  void fail_next(DiskAction action, u32 count) { fail_next_[static_cast<size_t>(action)] = count; }
  // Every operation and file system call fails with EIO, until replace().
  void fail() { failed_ = true; }
  bool failed() const { return failed_; }
  // A blank disk in its place; open handles of the old one fail for ever.
  void replace();
  // Flips one stored bit. kNotFound or kInvalidArgument if there is no such file or offset.
  Status corrupt(std::string_view path, u64 offset, u32 bit);

  // From here on: for the parts of env/sim only.
  struct Request : ListNode {
    Operation* op = nullptr;
    SimEnv* env = nullptr;
    std::shared_ptr<Inode> inode;
    DiskAction action = DiskAction::read;
    Durability durability = Durability::volatile_write;
    bool held = false;  // by a stuck disk
    u64 offset = 0;
    u64 mark = 0;  // of a flush: what had been written when it began
    MutableBytes into;
    Bytes from;
    u32* handle_in_flight = nullptr;
    u64 generation = 0;  // grows when the request is over: an event of an older one is void
    Request* next_free = nullptr;
  };
  Request& new_request(SimEnv& env, const std::shared_ptr<Inode>& inode, Operation& op,
                       DiskAction action);
  void start(Request& request);
  void process_died(const SimEnv& env, Crash how);
  std::shared_ptr<Inode> new_inode();
  bool has_room(u64 more) const {
    return options_.capacity == 0 || more == 0 || *used_ + more <= options_.capacity;
  }
  std::map<std::string, std::shared_ptr<Inode>, std::less<>>& files() { return files_; }
  std::set<std::string, std::less<>>& directories() { return directories_; }

 private:
  void schedule(Request& request, Instant when);
  Duration draw_latency(DiskAction action);
  static void fire(World& world, Event& event);
  bool draw_error(DiskAction action);
  i64 perform(Request& request);
  i64 perform_write(Request& request);
  i64 perform_flush(Request& request);
  void write_torn(Request& request);
  void abandon_write(Request& request, Crash how);
  void release(Request& request);

  World& world_;
  Node& node_;
  std::string mount_;
  DiskOptions options_;
  DiskCounters counters_;
  std::map<std::string, std::shared_ptr<Inode>, std::less<>> files_;
  std::set<std::string, std::less<>> directories_;
  std::shared_ptr<u64> used_;
  u32 slow_factor_ = 1;
  u32 fail_next_[3] = {};
  bool stuck_ = false;
  bool failed_ = false;
  Instant bus_free_;
  std::vector<std::unique_ptr<Request>> requests_;
  Request* free_ = nullptr;
  IntrusiveList<Request> in_flight_;  // in the order they were started
};

}  // namespace pangu::env::sim
