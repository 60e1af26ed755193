#pragma once
#include "rpc/channel.h"

// The client's way to other processes, as one call. Made of channels in life
// (client/channel_links.h), of a fake cluster in unit tests (client/testing/).
namespace pangu::client {

class Links {
 public:
  virtual ~Links() = default;
  // As rpc::Channel::call, over the connection of that kind to `to`. Calls to one address start in
  // the order in which they were made.
  virtual Task<Result<rpc::Response>> call(env::Address to, rpc::ConnectionKind kind,
                                           wire::Method method, Bytes body, rpc::Payload payload,
                                           rpc::CallOptions options) = 0;
  // Smoothed, of the data connection; 0 until known.
  virtual Duration round_trip(const env::Address& to) = 0;
  // Memory for a run of units: a slice of exactly `bytes`, contents undefined. Never fails: beyond
  // the pool it comes from the heap.
  virtual Slice allocate(size_t bytes) = 0;
  // Fails what is in flight with kClosed, and everything from now on.
  virtual Task<void> stop() = 0;
};

}  // namespace pangu::client
