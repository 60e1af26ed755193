#pragma once
#include <string>

#include "app/command.h"
#include "app/local_cluster.h"

// The main promise, shown: real bytes go into a real cluster, a server dies in the middle, and the
// same bytes come out.
namespace pangu::app {

struct DemoOptions {
  std::string file;        // what to store
  std::string directory;   // of the cluster
  u64 chunkservers = 3;
};

// Starts the cluster, runs the demonstration and stops the cluster, whatever happens. Corrupt: a
// byte came back different.
Status run_demo_in(Invocation& invocation, World& world, const DemoOptions& options);

// A tar of about `bytes` bytes of this machine's /usr/share. Returns its path.
Result<std::string> make_demo_input(const std::string& directory, u64 bytes);

}  // namespace pangu::app
