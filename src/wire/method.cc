#include "wire/method.h"

namespace pangu::wire {

std::string_view to_string(Method method) {
  switch (method) {
    case Method::none:
      return "none";
    case Method::append:
      return "append";
    case Method::read:
      return "read";
    case Method::fence:
      return "fence";
    case Method::finalize:
      return "finalize";
    case Method::close:
      return "close";
    case Method::committed:
      return "committed";
    case Method::watch:
      return "watch";
    case Method::chunkserver_status:
      return "chunkserver_status";
    case Method::inspect_chunk:
      return "inspect_chunk";
    case Method::lookup:
      return "lookup";
    case Method::create_file:
      return "create_file";
    case Method::make_directory:
      return "make_directory";
    case Method::list:
      return "list";
    case Method::rename:
      return "rename";
    case Method::remove:
      return "remove";
    case Method::open_for_append:
      return "open_for_append";
    case Method::allocate_chunks:
      return "allocate_chunks";
    case Method::release_chunk:
      return "release_chunk";
    case Method::report_chunk:
      return "report_chunk";
    case Method::publish:
      return "publish";
    case Method::get_stream:
      return "get_stream";
    case Method::seal_file:
      return "seal_file";
    case Method::register_server:
      return "register_server";
    case Method::heartbeat:
      return "heartbeat";
    case Method::cluster_info:
      return "cluster_info";
    case Method::raft_messages:
      return "raft_messages";
    case Method::raft_snapshot_begin:
      return "raft_snapshot_begin";
    case Method::raft_snapshot_piece:
      return "raft_snapshot_piece";
  }
  return "unknown";
}

}  // namespace pangu::wire
