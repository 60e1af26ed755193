#pragma once
#include <memory>
#include <string>

#include "base/ids.h"
#include "env/env.h"

// Who a chunkserver is: <data>/identity.toml, and the lock that keeps a second process out.
namespace pangu::chunk {

struct ServerIdentity {
  Uuid identity;    // made with the data directory; registering again with it gives the same id
  Uuid cluster;     // zero until the master was met for the first time
  ServerId server;  // likewise
  bool known() const { return !cluster.is_zero() && server.number != 0; }
};

// A data directory held open. The lock lasts as long as the object.
struct DataDirectory {
  std::string path;
  ServerIdentity identity;
  std::unique_ptr<env::File> lock;
};

// Makes the directory and a fresh identity if there is none. InUse: another process holds it;
// InvalidArgument: identity.toml is damaged (named in the error).
Result<DataDirectory> open_data_directory(env::Env& env, const std::string& path);
// Durable when it returns.
Status store_identity(env::Env& env, const DataDirectory& directory);

}  // namespace pangu::chunk
