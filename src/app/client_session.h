#pragma once
#include "app/command.h"
#include "app/world.h"
#include "pangu/client.h"

// The way of every command that stores or reads files: a client, the work, an orderly end.
namespace pangu::app {

Result<client::ClientOptions> client_options(const Config& config);
client::FileOptions file_options(const Config& config);

struct Session {
  Invocation& invocation;
  World& world;
  client::Client& client;

  const Args& args() const { return invocation.args; }
};

// Connects as the configuration says, runs `work` and stops the client. References in the Session
// stay valid until `work` has ended.
Status run_with_client(Invocation& invocation, Task<Status> (*work)(Session session));

}  // namespace pangu::app
