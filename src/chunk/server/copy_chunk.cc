#include <fmt/format.h>

#include "chunk/server/group_service.h"
#include "wire/proto.h"

// copy_chunk: see chunk_copy.h.
namespace pangu::chunk {

namespace {
// Of a request without a deadline.
constexpr Duration kCopyTimeMax = seconds(3600);
}  // namespace

Task<rpc::Reply> GroupService::copy_chunk(rpc::Request request) {
  pb::CopyChunkRequest in;
  if (!in.ParseFromArray(request.body.data(), static_cast<int>(request.body.size()))) {
    co_return rpc::Reply(Error(Code::kBadFrame, "request does not parse"));
  }
  const auto address = env::parse_address(in.source_address());
  const ChunkId chunk = wire::get(in.chunk());
  if (!address.ok() || in.length() == 0 || in.length() == wire::kUnsettled ||
      wire::stream_group_of(chunk.file) != in.group()) {
    co_return rpc::Reply(Error(Code::kInvalidArgument,
                               fmt::format("no copy of {} bytes of chunk {} from '{}' for group {}",
                                           in.length(), to_string(chunk), in.source_address(),
                                           in.group())));
  }
  Status admitted = co_await terms_.admit(in.group(), in.term());
  if (!admitted.ok()) {
    co_return rpc::Reply(admitted.error());
  }
  const Instant latest = reactor_.now() + kCopyTimeMax;
  CopyOrder order{.group = in.group(),
                  .term = in.term(),
                  .chunk = chunk,
                  .device = wire::get(in.device()),
                  .length = in.length(),
                  .version = in.version(),
                  .base = in.base(),
                  .source = {in.source_server()},
                  .source_address = *address,
                  .source_device = wire::get(in.source_device()),
                  .bytes_per_second = in.bytes_per_second(),
                  .deadline = std::min(request.deadline, latest)};
  auto copied = co_await copier_.copy(std::move(order));
  if (!copied.ok()) {
    co_return rpc::Reply(copied.error());
  }
  rpc::Reply reply;
  reply.body = copied->SerializeAsString();
  co_return reply;
}

}  // namespace pangu::chunk
