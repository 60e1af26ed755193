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
  u64 master_calls = 0;      // requests to masters, repeated ones included
  u64 master_retries = 0;    // of them, because another attempt failed
  u64 master_redirects = 0;  // of these, to the leader that another master named
  u64 maps_fetched = 0;      // partition maps
  u64 lookups = 0;           // requests; each may carry the questions of many callers
  u64 lookup_rounds = 0;     // parallel rounds of lookups from the root down
  u64 ways_hit = 0;          // a directory's place in the tree was remembered
  u64 ways_missed = 0;       // it had to be looked up
  u64 ways_stale = 0;        // a remembered one was not right any more
  u64 stream_fetches = 0;    // requests for chunk lists; each may carry many files
  u64 prefetches = 0;        // chunk lists asked for ahead of a sequential reader
  Histogram append_us;  // from append() to its acknowledgement
  Histogram switch_us;  // from the failure to the first acknowledgement in the new chunk
  Histogram read_us;    // of READ calls
};

}  // namespace pangu::client
