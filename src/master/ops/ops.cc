#include "master/ops/ops.h"

namespace pangu::master::ops {
namespace {

using wire::Method;

constexpr Operation kOperations[] = {
    {Method::lookup, lookup, names, true},
    {Method::list, list, names, true},
    {Method::create_file, create_file, names, false},
    {Method::make_directory, make_directory, names, false},
    {Method::rename, rename, names | root, false},
    {Method::remove, remove, names | root, false},
    {Method::get_stream, get_stream, streams, true},
    {Method::get_streams, get_streams, streams, true},
    {Method::open_for_append, open_for_append, streams, false},
    {Method::allocate_chunks, allocate_chunks, streams, false},
    {Method::release_chunk, release_chunk, streams, false},
    {Method::report_chunk, report_chunk, streams, false},
    {Method::publish, publish, streams, false},
    {Method::seal_file, seal_file, streams, false},
    {Method::cluster_info, cluster_info, root, true},
    {Method::register_server, register_server, root, false},
    {Method::heartbeat, heartbeat, root, false},
    {Method::server_table, server_table, root, false},
    {Method::set_server_state, set_server_state, root, false},
    {Method::change_map, change_map, root, false},
    {Method::prepare, prepare, names | root, false},
    {Method::finish, finish, names | root, false},
    {Method::transaction_status, transaction_status, names | root, false},
    {Method::deliver, deliver, names | streams, false},
    {Method::group_status, group_status, any, false},
    {Method::change_members, change_members, any, false},
    {Method::transfer_leadership, transfer_leadership, any, false},
    {Method::scan_group, scan_group, any, true},
};

}  // namespace

const Operation* find(wire::Method method) {
  for (const Operation& operation : kOperations) {
    if (operation.method == method) {
      return &operation;
    }
  }
  return nullptr;
}

}  // namespace pangu::master::ops
