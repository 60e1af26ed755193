#include "chunk/server/chunkserver.h"

#include <fmt/format.h>

#include "base/log.h"
#include "chunk/store/memory_file.h"

namespace pangu::chunk {

namespace {

std::string name_of(const DeviceOptions& device) {
  return device.path.empty() ? "memory device" : fmt::format("device {}", device.path);
}

RegistrationOptions registration_options(const ChunkserverOptions& options) {
  return {.masters = options.masters, .rack = options.rack, .key = options.key};
}

}  // namespace

Chunkserver::Chunkserver(Reactor& reactor, ChunkserverOptions options)
    : reactor_(reactor),
      options_(std::move(options)),
      pool_(reactor.env(), {.bytes = options_.receive_pool_bytes}),
      buffers_(pool_),
      service_(pool_),
      groups_(reactor),
      registration_(reactor, pool_, *this, registration_options(options_)) {}

Chunkserver::~Chunkserver() = default;

Task<Result<std::unique_ptr<Chunkserver>>> Chunkserver::start(Reactor& reactor,
                                                              ChunkserverOptions options) {
  if (options.masters.empty() || options.devices.empty()) {
    co_return Error(Code::kInvalidArgument,
                    "a chunkserver needs at least one master and one device");
  }
  std::unique_ptr<Chunkserver> out(new Chunkserver(reactor, std::move(options)));
  const Status begun = co_await out->begin();
  if (!begun.ok()) {
    co_await out->stop();
    co_return begun.error();
  }
  co_return std::move(out);
}

Task<Status> Chunkserver::begin() {
  auto directory = open_data_directory(reactor_.env(), options_.data);
  if (!directory.ok()) {
    co_return std::move(directory).error();
  }
  directory_ = std::move(*directory);
  for (const DeviceOptions& device_options : options_.devices) {
    auto device = std::make_unique<Device>();
    device->options = device_options;
    CO_TRY_VOID(open_file(*device));
    devices_.push_back(std::move(device));
  }
  if (!directory_.identity.known()) {
    const Status joined = co_await join();
    if (!joined.ok()) {
      co_return joined.error();
    }
  }
  for (auto& device : devices_) {
    const Status opened = co_await open_device(*device);
    if (!opened.ok()) {
      Error error = opened.error();
      co_return std::move(error).within(name_of(device->options));
    }
    service_.add_device(*device->store, device->media);
    groups_.add_device(device->store->identity().device, *device->store);
  }
  co_return serve();
}

Task<Status> Chunkserver::join() {
  const Instant deadline = reactor_.now() + options_.join_timeout;
  const Status joined = co_await registration_.join(directory_.identity, deadline);
  if (!joined.ok()) {
    co_return joined.error();
  }
  co_return store_identity(reactor_.env(), directory_);
}

Status Chunkserver::open_file(Device& device) {
  const DeviceOptions& options = device.options;
  if (options.path.empty()) {
    device.media = "memory";
    device.file = std::make_unique<MemoryFile>(reactor_, options.size);
    return ok_status();
  }
  const bool fresh = !reactor_.env().files().exists(options.path);
  if (fresh && (options.size == 0 || !options.format_if_blank)) {
    return Error(Code::kNotFound,
                 fmt::format("device {} does not exist; give it a size and --format-if-blank to "
                             "make it, as in --device {},size=64G",
                             options.path, options.path));
  }
  TRY(file,
      reactor_.env().files().open(options.path, {.create = fresh, .direct = true, .lock = true}));
  device.file = std::move(file);
  device.media = device.file->is_block_device() ? "block" : "file";
  return ok_status();
}

Task<Status> Chunkserver::format(Device& device) {
  const FormatOptions options{
      .cluster = directory_.identity.cluster,
      .server = directory_.identity.server,
      .device = {.high = reactor_.env().random(), .low = reactor_.env().random()},
      .capacity = device.options.size,
      .prewrite = device.media == "file"};
  LOG_INFO("formatting {}", name_of(device.options));
  return format_device(*device.file, options);
}

Task<Status> Chunkserver::open_device(Device& device) {
  if (device.media == "memory") {
    const Status formatted = co_await format(device);
    if (!formatted.ok()) {
      co_return formatted.error();
    }
  } else {
    auto blank = co_await is_blank(*device.file);
    if (!blank.ok()) {
      co_return std::move(blank).error();
    }
    if (*blank && !device.options.format_if_blank) {
      co_return Error(Code::kNotOurs,
                      "it is blank; make it ours with `pangu chunk format` or --format-if-blank");
    }
    if (*blank) {
      const Status formatted = co_await format(device);
      if (!formatted.ok()) {
        co_return formatted.error();
      }
    }
  }
  auto identity = co_await read_identity(*device.file);
  if (!identity.ok()) {
    co_return std::move(identity).error();
  }
  const ServerIdentity& own = directory_.identity;
  if (identity->cluster != own.cluster) {
    co_return Error(Code::kWrongCluster,
                    fmt::format("it belongs to cluster {}, this server to {}",
                                to_string(identity->cluster), to_string(own.cluster)));
  }
  if (identity->server != own.server) {
    co_return Error(Code::kWrongCluster,
                    fmt::format("it belongs to server {}, this is server {}",
                                to_string(identity->server), to_string(own.server)));
  }
  const bool block = device.media == "block";
  const StoreOptions options{.prewrite = device.media == "file",
                             .writes_are_durable = block && !device.file->volatile_cache()};
  auto store = co_await ChunkStore::open(reactor_, *device.file, buffers_, options);
  if (!store.ok()) {
    co_return std::move(store).error();
  }
  device.store = std::move(*store);
  const RecoveryReport& report = device.store->recovery();
  LOG_INFO("{}: {} chunks ({} open), recovered in {} ms", name_of(device.options), report.chunks,
           report.open_chunks, report.took.ms());
  co_return ok_status();
}

Status Chunkserver::serve() {
  const ServerIdentity& own = directory_.identity;
  const rpc::Identity identity{.cluster = own.cluster, .server = own.server, .key = options_.key};
  TRY_VOID(groups_.start(directory_.path, identity));
  service_.set_server(own.server);
  service_.set_groups(groups_);
  const rpc::ServerOptions server_options{
      .identity = identity,
      .receive_bytes_max = options_.receive_pool_bytes};
  server_ = std::make_unique<rpc::Server>(reactor_, service_, pool_, server_options);
  TRY_VOID(server_->listen(options_.listen));
  registration_.start(own, env::to_string(server_->address()));
  return ok_status();
}

Task<void> Chunkserver::stop() {
  co_await registration_.stop();
  co_await groups_.stop();
  if (server_) {
    co_await server_->stop();
  }
  for (auto& device : devices_) {
    if (device->store) {
      co_await device->store->stop();
    }
  }
}

std::vector<pb::DeviceInfo> Chunkserver::device_infos() {
  std::vector<pb::DeviceInfo> out;
  for (const auto& device : devices_) {
    if (device->store) {
      out.push_back(device_info(*device->store, device->media));
    }
  }
  return out;
}

}  // namespace pangu::chunk
