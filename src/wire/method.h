#pragma once
#include <string_view>

#include "base/types.h"

// Numbers of the methods: part of the wire format, never reused.
namespace pangu::wire {

enum class Method : u16 {
  none = 0,
  // data plane, chunkserver (wire/data_plane.h)
  append = 1,
  read = 2,
  fence = 3,
  finalize = 4,
  close = 5,
  committed = 6,
  watch = 7,
  // control plane, chunkserver (wire/control.proto)
  chunkserver_status = 40,
  inspect_chunk = 41,
  chunk_orders = 42,
  list_chunks = 43,
  copy_chunk = 44,
  // control plane, master: namespace
  lookup = 100,
  create_file = 101,
  make_directory = 102,
  list = 103,
  rename = 104,
  remove = 105,
  // control plane, master: streams
  open_for_append = 120,
  allocate_chunks = 121,
  release_chunk = 122,
  report_chunk = 123,
  publish = 124,
  get_stream = 125,
  seal_file = 126,
  get_streams = 127,
  // control plane, master: servers and cluster
  register_server = 140,
  heartbeat = 141,
  cluster_info = 142,
  get_partition_map = 143,
  group_status = 144,
  server_table = 145,
  set_server_state = 146,
  change_map = 147,
  // control plane, master: what other masters' groups ask (master/state/record.proto)
  prepare = 150,
  finish = 151,
  transaction_status = 152,
  deliver = 153,
  // control plane, master: for operators
  change_members = 170,
  transfer_leadership = 171,
  host_group = 172,
  scan_group = 173,
  // between Raft hosts (raft/driver/codec.h)
  raft_messages = 160,
  raft_snapshot_begin = 161,
  raft_snapshot_piece = 162,
};
std::string_view to_string(Method method);

}  // namespace pangu::wire
