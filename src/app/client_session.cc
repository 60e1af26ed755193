#include "app/client_session.h"

#include "app/settings.h"

namespace pangu::app {

Result<client::ClientOptions> client_options(const Config& config) {
  client::ClientOptions options;
  TRY(masters, master_addresses(config));
  for (const env::Address& address : masters) {
    options.masters.push_back(env::to_string(address));
  }
  TRY(key, cluster_key(config));
  options.key = key;
  options.op_timeout = config.duration("client.timeout");
  return options;
}

client::FileOptions file_options(const Config& config) {
  client::FileOptions options;
  options.copies_max = static_cast<u32>(config.count("client.copies_max"));
  options.copies_min = static_cast<u32>(config.count("client.copies_min"));
  options.chunk_bytes = config.size("client.chunk_size");
  return options;
}

namespace {
Task<Status> connect_and_work(Invocation& invocation, World& world, client::ClientOptions options,
                              Task<Status> (*work)(Session session)) {
  auto client = co_await client::Client::open(world.reactor(), std::move(options));
  if (!client.ok()) {
    co_return std::move(client).error();
  }
  Session session{invocation, world, **client};
  Status status = co_await work(session);
  co_await (*client)->stop();
  co_return status;
}
}  // namespace

Status run_with_client(Invocation& invocation, Task<Status> (*work)(Session session)) {
  TRY(world, World::create(invocation.config));
  TRY(options, client_options(invocation.config));
  return world->run(connect_and_work(invocation, *world, options, work));
}

}  // namespace pangu::app
