#pragma once
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/time.h"

// What a user of the client SDK can set, and what files look like to it.
namespace pangu::client {

struct ClientOptions {
  // host:port of any masters, numbers only (names are the caller's business).
  std::vector<std::string> masters;
  // The cluster's key, where one is configured.
  std::optional<std::array<std::byte, 32>> key;
  // How long an operation may take with all its retries; an append that is not acknowledged by then
  // fails with kUnknownOutcome.
  Duration op_timeout = seconds(10);
  // A replica that has not answered an append, a read, a fence by then is taken to have failed.
  Duration append_timeout = seconds(1);
  Duration read_timeout = seconds(1);
  Duration fence_timeout = seconds(1);
  // A master that has not answered by then may have lost its place: others are asked who leads now.
  // If it is still the one, it gets twice as long, up to master_timeout.
  Duration master_first_timeout = milliseconds(300);
  Duration master_timeout = seconds(2);
  // How long a server that failed is avoided.
  Duration suspect_time = seconds(5);
  // An idle writer tells its replicas how far it is committed this long after the last
  // acknowledgement.
  Duration committed_delay = milliseconds(1);
  u64 window_bytes = 32 * kMiB;    // un-acknowledged appends of all writers together
  u64 retained_bytes = 64 * kMiB;  // a chunk's bytes that not every replica has acknowledged yet
  u32 runs_in_flight = 8;          // per chunk
  u32 gather_bytes = 64 * kKiB;    // with runs in flight, send when this much waits
  u32 spare_chunks = 1;            // listed ahead of need
  u32 cached_streams = 1024;       // files whose chunk lists are remembered
  u32 ways_cached = 10'000;        // directories whose place in the tree is remembered
};

// Fixed for a file's life when it is created. 0 = the cluster's default.
struct FileOptions {
  u32 copies_max = 0;   // replicas of a chunk, default 3
  u32 copies_min = 0;   // how many must be durable before an append is acknowledged, default 2
  u64 chunk_bytes = 0;  // payload a chunk may hold, 1 MiB to 2 GiB, default 64 MiB
};

struct CreateOptions {
  FileOptions file;
  bool exclusive = true;  // kAlreadyExists if the file is there
};

struct OpenOptions {
  bool create = false;  // the file, if it is absent
  FileOptions file;     // then
};

struct AppendOptions {
  // The bytes (at most kRecordBytesMax) stay in one unit of one chunk: readers and recoveries see
  // all of them or none.
  bool record = false;
};
inline constexpr u32 kRecordBytesMax = 4048;

enum class EntryType : u8 { file, directory };

struct Entry {
  std::string name;
  EntryType type = EntryType::file;
  u64 id = 0;
  i64 created_us = 0;  // wall clock, for people
  FileOptions options;
};

struct FileInfo {
  Entry entry;
  // Files: bytes that are committed for good; of a file that is being written, as far as known.
  u64 length = 0;
  bool sealed = false;  // no more appends, ever
  u32 epoch = 0;        // how often it was opened for append
};

struct ListPage {
  std::vector<Entry> entries;  // by name, bytewise
  bool more = false;           // ask again with `after` = the last name
};

// What remove() took away. What a tree held is freed in the background, and nobody counts it.
enum class Removed : u8 { file, empty_directory, tree };

struct ServerSummary {
  ServerId server;
  std::string address;
  std::string rack;
  std::string state;  // alive, suspect, dead
  u64 capacity_bytes = 0;
  u64 free_bytes = 0;
  u64 chunks = 0;
  u64 heartbeat_age_ms = 0;
};

struct MasterSummary {
  u64 node = 0;
  std::string address;
};

// A replicated group of the metadata, as its leader sees it.
struct GroupSummary {
  u64 group = 0;
  std::string kind;  // root, namespace, streams
  u32 index = 0;     // among those of its kind
  std::vector<u64> nodes;
  u64 leader = 0;  // node; 0: nobody, as far as is known
  u64 term = 0;
  u64 commit_index = 0;
  u64 applied_index = 0;
  u64 commands_applied = 0;
  u64 files = 0;
  u64 directories = 0;
  u64 chunks = 0;
  u64 log_bytes = 0;
  u64 missing_copies = 0;    // of settled chunks: what repair has to do
  u64 waiting_orders = 0;    // to chunkservers
  u64 waiting_messages = 0;  // to other groups
};

struct ClusterSummary {
  Uuid cluster;
  std::string version;
  std::vector<ServerSummary> servers;
  std::vector<MasterSummary> masters;
  std::vector<GroupSummary> groups;
  u64 files = 0;
  u64 directories = 0;
  u64 chunks = 0;
};

}  // namespace pangu::client
