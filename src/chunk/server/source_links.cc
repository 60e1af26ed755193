#include "chunk/server/source_links.h"

namespace pangu::chunk {

namespace {
// Replies under way. Beyond it they come from the heap.
constexpr u64 kPoolBytes = 8 * kMiB;
}  // namespace

SourceLinks::SourceLinks(Reactor& reactor)
    : reactor_(reactor), pool_(reactor.env(), {.bytes = kPoolBytes}) {}

rpc::Channel& SourceLinks::take(const env::Address& address) {
  CHECK(!stopped_);
  Link& link = links_[address];
  if (link.channel == nullptr) {
    const rpc::ChannelOptions options{.identity = identity_, .kind = rpc::ConnectionKind::data};
    link.channel = std::make_unique<rpc::Channel>(reactor_, pool_, address, options);
  }
  ++link.users;
  return *link.channel;
}

void SourceLinks::give(const env::Address& address) {
  Link& link = links_[address];
  CHECK(link.users > 0);
  --link.users;
  link.used = reactor_.now();
}

// The one that was idle longest, if it is to go.
std::unique_ptr<rpc::Channel> SourceLinks::remove_idle() {
  auto oldest = links_.end();
  size_t idle = 0;
  for (auto at = links_.begin(); at != links_.end(); ++at) {
    if (at->second.users == 0) {
      ++idle;
      oldest = oldest == links_.end() || at->second.used < oldest->second.used ? at : oldest;
    }
  }
  const bool goes = oldest != links_.end() &&
                    (idle > kIdleMax || oldest->second.used + kIdleTime < reactor_.now());
  std::unique_ptr<rpc::Channel> out;
  if (goes && !stopped_) {
    out = std::move(oldest->second.channel);
    links_.erase(oldest);
  }
  return out;
}

Task<void> SourceLinks::tidy() {
  for (auto channel = remove_idle(); channel != nullptr; channel = remove_idle()) {
    co_await channel->stop();
  }
}

Task<void> SourceLinks::stop() {
  stopped_ = true;
  for (auto& [address, link] : links_) {
    co_await link.channel->stop();
  }
}

}  // namespace pangu::chunk
