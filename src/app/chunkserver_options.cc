#include "app/chunkserver_options.h"

#include "app/server_command.h"
#include "app/settings.h"

namespace pangu::app {

Result<chunk::ChunkserverOptions> chunkserver_options(const Config& config) {
  chunk::ChunkserverOptions options;
  TRY(data, required(config, "server.data", "--data DIR"));
  options.data = data;
  const std::string& listen = config.text("server.listen");
  TRY(address, addresses(listen.empty() ? "127.0.0.1:0" : listen));
  options.listen = address.front();
  TRY(masters, master_addresses(config));
  options.masters = masters;
  if (!config.text("server.rack").empty()) {
    options.rack = config.text("server.rack");
  }
  TRY(key, cluster_key(config));
  options.key = key;
  options.receive_pool_bytes = config.size("limits.receive");
  for (const std::string& text : config.list("device.paths")) {
    TRY(spec, parse_device(text));
    options.devices.push_back({spec.path, spec.size, config.toggle("device.format_if_blank")});
  }
  if (config.size("device.memory") > 0) {
    options.devices.push_back({"", config.size("device.memory"), true});
  }
  if (options.devices.empty()) {
    return Error(Code::kInvalidArgument,
                 "no device is given; hint: --device PATH[,size=64G] or --memory 1G");
  }
  return options;
}

}  // namespace pangu::app
