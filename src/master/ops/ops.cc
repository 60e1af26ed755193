#include "master/ops/ops.h"

namespace pangu::master::ops {
namespace {

constexpr Operation kOperations[] = {
    {wire::Method::lookup, lookup, true},
    {wire::Method::list, list, true},
    {wire::Method::get_stream, get_stream, true},
    {wire::Method::cluster_info, cluster_info, true},
    {wire::Method::create_file, create_file, false},
    {wire::Method::make_directory, make_directory, false},
    {wire::Method::rename, rename, false},
    {wire::Method::remove, remove, false},
    {wire::Method::open_for_append, open_for_append, false},
    {wire::Method::allocate_chunks, allocate_chunks, false},
    {wire::Method::release_chunk, release_chunk, false},
    {wire::Method::report_chunk, report_chunk, false},
    {wire::Method::publish, publish, false},
    {wire::Method::seal_file, seal_file, false},
    {wire::Method::register_server, register_server, false},
    {wire::Method::heartbeat, heartbeat, false},
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
