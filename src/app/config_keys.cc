#include "app/config.h"

namespace pangu::app {

namespace {
using enum ValueKind;

constexpr ConfigKey kKeys[] = {
    {"cluster.masters", text, "127.0.0.1:7100", "masters, host:port[,host:port...]"},
    {"cluster.key_file", text, "",
     "file with the cluster key, 64 hex digits; needed beyond loopback"},

    {"server.listen", text, "", "address of this server, host:port; port 0 takes a free one"},
    {"server.data", text, "", "data directory of this server"},
    {"server.rack", text, "", "failure domain of this server; empty: the server by itself"},
    {"server.status_interval", duration, "0s", "log a line of counters this often; 0s: never"},

    {"device.paths", list, "", "devices, PATH[,size=64G] each: files or block devices"},
    {"device.memory", size, "0", "serve one device of this size from memory (not durable)"},
    {"device.format_if_blank", toggle, "false", "format devices that carry no data"},

    {"runtime.io", text, "auto", "how to reach the kernel", "auto|io_uring|epoll"},
    {"runtime.spin", duration, "0us", "poll this long before sleeping; 0us: sleep at once"},
    {"runtime.log_level", text, "info", "lowest level that is logged", "debug|info|warn|error"},

    {"client.timeout", duration, "30s", "how long one operation may take"},
    {"client.copies_max", count, "3", "replicas of a new file's chunks"},
    {"client.copies_min", count, "2", "durable replicas before an append is acknowledged"},
    {"client.chunk_size", size, "64M", "payload a chunk of a new file may hold"},

    {"limits.open_files", count, "65536", "file descriptors to ask the kernel for"},
    {"limits.connections", count, "4096", "connections a server accepts"},
    {"limits.receive", size, "12M", "payload in flight into a server, over all connections"},
    {"limits.connection_credit", size, "4M", "payload in flight on one connection"},
};
}  // namespace

std::span<const ConfigKey> config_keys() { return kKeys; }

}  // namespace pangu::app
