#pragma once
#include "base/histogram.h"

// What a client has done so far. Plain numbers of one reactor: read them on its thread.
namespace pangu::client {

struct ClientCounters {
  u64 appends = 0;       // acknowledged
  u64 append_bytes = 0;  // acknowledged
  u64 appends_failed = 0;
  u64 runs = 0;            // cut
  u64 run_bytes = 0;       // payload of the runs: more than append_bytes if a switch re-cut some
  u64 unit_bytes = 0;      // the runs with footers and padding
  u64 payload_copies = 0;  // bytes copied from callers' memory into runs
  u64 run_sends = 0;       // to single replicas, resends included
  u64 resends = 0;
  u64 switches = 0;       // to another chunk because something failed
  u64 chunks_filled = 0;  // to another chunk because one was full
  u64 replica_failures = 0;
  u64 takeovers = 0;  // begun
  u64 takeovers_published = 0;
  u64 takeover_copied_bytes = 0;
  u64 fenced = 0;            // writers that were stopped by a newer one
  u64 unknown_outcomes = 0;  // appends
  u64 committed_messages = 0;
  u64 reads = 0;               // READ calls to replicas
  u64 read_bytes = 0;          // payload handed to callers
  u64 read_retries = 0;        // a replica failed and another was asked
  u64 read_corrupt = 0;        // units that failed their check
  u64 metadata_refreshes = 0;  // because a replica said that the chunk is not there
  u64 watches = 0;
  u64 master_calls = 0;
  u64 master_retries = 0;
  Histogram append_us;  // from append() to its acknowledgement
  Histogram switch_us;  // from the failure to the first acknowledgement in the new chunk
  Histogram read_us;    // of READ calls
};

}  // namespace pangu::client
