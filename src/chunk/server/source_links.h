#pragma once
#include <map>
#include <memory>
#include <optional>

#include "rpc/channel.h"
#include "runtime/buffer_pool.h"

// Connections to the chunkservers that copies are read from. They are kept a while, not for ever: a
// cluster has more servers than one should hold connections to.
namespace pangu::chunk {

class SourceLinks {
 public:
  static constexpr size_t kIdleMax = 16;
  static constexpr Duration kIdleTime = seconds(60);

  explicit SourceLinks(Reactor& reactor);
  void start(const rpc::Identity& identity) { identity_ = identity; }

  // A channel that stays until it is given back. Each take() needs its give(). REQUIRES: not stopped.
  rpc::Channel& take(const env::Address& address);
  void give(const env::Address& address);
  // Ends connections that nobody has used for long, or of which there are too many.
  Task<void> tidy();
  // Fails what is under way. What was taken must still be given back. Calls after it find closed
  // channels.
  Task<void> stop();

 private:
  struct Link {
    std::unique_ptr<rpc::Channel> channel;
    u32 users = 0;
    Instant used;
  };
  std::unique_ptr<rpc::Channel> remove_idle();

  Reactor& reactor_;
  BufferPool pool_;
  rpc::Identity identity_;
  std::map<env::Address, Link> links_;
  bool stopped_ = false;
};

}  // namespace pangu::chunk
