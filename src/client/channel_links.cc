#include "client/channel_links.h"

namespace pangu::client {

namespace {
// Runs waiting for late replicas and replies to reads; beyond it memory comes from the heap.
u64 pool_bytes(const ClientOptions& options) {
  return options.window_bytes + options.retained_bytes + 16 * kMiB;
}
}  // namespace

ChannelLinks::ChannelLinks(Reactor& reactor, const ClientOptions& options)
    : reactor_(reactor),
      identity_{.key = options.key},
      pool_(reactor.env(), {.bytes = pool_bytes(options)}) {}

ChannelLinks::~ChannelLinks() = default;

Task<Result<rpc::Response>> ChannelLinks::call(env::Address to, rpc::ConnectionKind kind,
                                               wire::Method method, Bytes body,
                                               rpc::Payload payload, rpc::CallOptions options) {
  if (stopped_) {
    co_return Error(Code::kClosed, "the client was stopped");
  }
  std::unique_ptr<rpc::Channel>& channel = channels_[Key(to, kind)];
  if (channel == nullptr) {
    channel = std::make_unique<rpc::Channel>(
        reactor_, pool_, to, rpc::ChannelOptions{.identity = identity_, .kind = kind});
  }
  rpc::Channel& chosen = *channel;  // channels stay until stop()
  co_return co_await chosen.call(method, body, std::move(payload), options);
}

Duration ChannelLinks::round_trip(const env::Address& to) {
  const auto found = channels_.find(Key(to, rpc::ConnectionKind::data));
  return found == channels_.end() ? Duration{} : found->second->round_trip();
}

Slice ChannelLinks::allocate(size_t bytes) {
  if (auto slice = pool_.try_take(bytes)) {
    return std::move(*slice);
  }
  return Slice::allocate(bytes);
}

Task<void> ChannelLinks::stop() {
  stopped_ = true;
  for (auto& [key, channel] : channels_) {
    co_await channel->stop();
  }
}

}  // namespace pangu::client
