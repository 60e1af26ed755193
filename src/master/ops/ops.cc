#include "master/ops/ops.h"

namespace pangu::master::ops {

Operation find(wire::Method method) {
  switch (method) {
    case wire::Method::lookup:
      return lookup;
    case wire::Method::create_file:
      return create_file;
    case wire::Method::make_directory:
      return make_directory;
    case wire::Method::list:
      return list;
    case wire::Method::rename:
      return rename;
    case wire::Method::remove:
      return remove;
    case wire::Method::open_for_append:
      return open_for_append;
    case wire::Method::allocate_chunks:
      return allocate_chunks;
    case wire::Method::release_chunk:
      return release_chunk;
    case wire::Method::report_chunk:
      return report_chunk;
    case wire::Method::publish:
      return publish;
    case wire::Method::get_stream:
      return get_stream;
    case wire::Method::seal_file:
      return seal_file;
    case wire::Method::register_server:
      return register_server;
    case wire::Method::heartbeat:
      return heartbeat;
    case wire::Method::cluster_info:
      return cluster_info;
    default:
      return nullptr;
  }
}

}  // namespace pangu::master::ops
