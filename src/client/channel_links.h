#pragma once
#include <map>
#include <memory>

#include "client/links.h"
#include "pangu/options.h"
#include "runtime/buffer_pool.h"

namespace pangu::client {

// Links made of rpc channels: one a server and kind, opened when first needed, kept while in use.
class ChannelLinks final : public Links {
 public:
  ChannelLinks(Reactor& reactor, const ClientOptions& options);
  ~ChannelLinks() override;

  Task<Result<rpc::Response>> call(env::Address to, rpc::ConnectionKind kind, wire::Method method,
                                   Bytes body, rpc::Payload payload,
                                   rpc::CallOptions options) override;
  Duration round_trip(const env::Address& to) override;
  Slice allocate(size_t bytes) override;
  Task<void> stop() override;

 private:
  using Key = std::pair<env::Address, rpc::ConnectionKind>;
  Reactor& reactor_;
  rpc::Identity identity_;
  BufferPool pool_;
  std::map<Key, std::unique_ptr<rpc::Channel>> channels_;
  bool stopped_ = false;
};

}  // namespace pangu::client
