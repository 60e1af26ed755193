#pragma once
#include <memory>
#include <string>

#include "app/config.h"
#include "env/env.h"
#include "master/server/master.h"
#include "rpc/server.h"
#include "runtime/buffer_pool.h"

// A whole master on one reactor: its state and the RPC server in front of it. `pangu master` and
// `pangu dev` run this class.
namespace pangu::app {

struct MasterServerOptions {
  std::string data;
  env::Address listen;
  bool init = false;  // make a new data folder first
  master::Founding founding;  // with init
  std::optional<rpc::ClusterKey> key;
  rpc::ServerOptions rpc;  // limits
};

// InvalidArgument names the key that is missing or wrong, and its flag.
Result<MasterServerOptions> master_server_options(const Config& config);

class MasterServer {
 public:
  // An error says which folder or address and what to do; everything opened is closed again.
  static Task<Result<std::unique_ptr<MasterServer>>> start(Reactor& reactor,
                                                           MasterServerOptions options);
  ~MasterServer();  // REQUIRES: stop() returned
  Task<void> stop();
  env::Address address() const { return server_->address(); }
  Uuid cluster() const { return master_.cluster(); }

 private:
  MasterServer(Reactor& reactor, const MasterServerOptions& options);
  Task<Status> begin(MasterServerOptions options);

  Reactor& reactor_;
  BufferPool pool_;
  master::Master master_;
  std::unique_ptr<rpc::Server> server_;
};

}  // namespace pangu::app
