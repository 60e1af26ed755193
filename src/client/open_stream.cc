#include "client/open_stream.h"

#include "base/reached.h"

namespace pangu::client {

namespace {

// Nothing was open: the stream is ours at once. The chunks it listed are given up.
Task<Status> seal_at_once(ClientCore& core, FileId file, Epoch epoch, u64 end,
                          std::vector<ChunkPlace> fresh, Instant deadline) {
  pb::SealFileRequest request;
  request.set_epoch(epoch.number);
  for (const ChunkPlace& chunk : fresh) {
    pb::Decision& decision = *request.add_decisions();
    decision.set_sequence(chunk.id.sequence);
    decision.set_dropped(true);
    decision.set_base(end);
  }
  auto reply = co_await core.change_stream<pb::SealFileReply>(file, wire::Method::seal_file,
                                                              std::move(request), deadline);
  if (!reply.ok()) {
    co_return std::move(reply).error();
  }
  co_return ok_status();
}

}  // namespace

Task<Result<TakeoverResult>> open_stream(ClientCore& core, std::string path, FileId file,
                                         pb::FileOptions options, TakeoverGoal goal) {
  const Instant deadline = core.op_deadline();
  pb::OpenForAppendRequest request;
  *request.mutable_options() = options;
  request.set_fresh_chunks(goal.seal ? 1 : goal.fresh_chunks);
  for (const ServerId server : core.servers.suspects(core.now())) {
    request.add_exclude_servers(server.number);
  }
  auto reply = co_await core.change_stream<pb::OpenForAppendReply>(
      file, wire::Method::open_for_append, std::move(request), deadline);
  if (!reply.ok()) {
    co_return std::move(reply).error().within(path);
  }
  core.servers.learn_all(reply->stream().servers());
  CO_TRY(stream, read_stream(reply->stream(), file));
  if (stream.state == StreamState::recovering) {
    REACHED("client: open had to recover the file");
    const auto takeover = std::make_shared<Takeover>(core, path, std::move(stream), deadline);
    co_return co_await takeover->run(goal);
  }
  if (stream.state != StreamState::open) {
    co_return Error(Code::kBadFrame, path + ": the master opened it, but it is not open");
  }
  CO_TRY(fresh, read_chunks(reply->fresh(), file));
  TakeoverResult out{.epoch = stream.epoch, .end = stream.settled_length, .fresh = {}};
  if (goal.seal) {
    auto sealed = co_await seal_at_once(core, file, out.epoch, out.end, std::move(fresh), deadline);
    if (!sealed.ok()) {
      co_return std::move(sealed).error().within(path);
    }
    co_return out;
  }
  co_await core.locate(fresh);
  out.fresh = std::move(fresh);
  co_return out;
}

}  // namespace pangu::client
