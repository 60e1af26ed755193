#include <cstdio>
#include <cstdlib>
#include <string>

#include "env/linux/linux_env.h"
#include "master/server/master.h"
#include "wire/control.pb.h"
#include "wire/proto.h"

// File creations a second of a whole master (log, RocksDB, state machine; no network):
//   bench_master FOLDER [FILES [CLIENTS [io_uring|epoll]]]
// FOLDER must not exist; its disk is what is measured. First line: the parameters.
namespace pangu::master {
namespace {

struct Run {
  Reactor& reactor;
  Master& master;
  u64 files;
  u64 clients;
};

Task<void> client(Run& run, u64 number) {
  u64 sequence = 0;
  for (u64 i = number; i < run.files; i += run.clients) {
    pb::CreateFileRequest request;
    request.mutable_place()->set_directory(wire::kRootDirectory);
    request.mutable_place()->add_chain(wire::kRootDirectory);
    request.mutable_place()->set_name("file-" + std::to_string(i));
    request.set_group(run.master.map().group_of_directory(wire::kRootDirectory));
    wire::set(*request.mutable_id()->mutable_client(), Uuid{.high = 1, .low = number + 1});
    request.mutable_id()->set_sequence(++sequence);
    request.mutable_id()->set_first_unanswered(sequence);
    const std::string bytes = request.SerializeAsString();
    rpc::Request call;
    call.method = wire::Method::create_file;
    call.deadline = Instant::never();
    call.body = Slice::copy_of(as_bytes_of(std::string_view(bytes)));
    auto reply = co_await run.master.service().handle(std::move(call));
    CHECK_NOTE(reply.code == Code::kOk, reply.text);
  }
}

Task<void> all_clients(Run& run) {
  Gate gate;
  for (u64 i = 0; i < run.clients; ++i) {
    gate.spawn(run.reactor, "client", TaskClass::foreground, client(run, i));
  }
  co_await gate.close();
}

double seconds_for(Run& run) {
  const Instant begin = run.reactor.now();
  run_blocking(run.reactor, all_clients(run));
  return (run.reactor.now() - begin).seconds();
}

int measure(const std::string& folder, u64 files, u64 clients, env::EnvKind kind) {
  auto world = std::move(*env::make_env(kind));
  Reactor reactor(*world, ReactorOptions{});
  MasterOptions options;
  options.directory = folder;
  if (const auto made = Master::init(*world, folder); !made.ok()) {
    std::fprintf(stderr, "%s\n", made.error().message().c_str());
    return 1;
  }
  BufferPool pool(*world, {.bytes = 4 * kMiB, .huge_pages = false, .registered = false});
  Master master(reactor, pool, options);
  CHECK(run_blocking(reactor, master.open()).ok());
  std::printf("create_file: %llu files, %llu clients, %s, folder %s\n",
              static_cast<unsigned long long>(files), static_cast<unsigned long long>(clients),
              std::string(world->name()).c_str(), folder.c_str());
  Run run{.reactor = reactor, .master = master, .files = files, .clients = clients};
  const double took = seconds_for(run);
  std::printf("%.0f creations/s, %.1f us each\n", static_cast<double>(files) / took,
              took * 1e6 / static_cast<double>(files));
  for (const SliceReport& report : reactor.slice_reports()) {
    std::printf("slices of '%s': %llu over the limit, %llu over the alarm, longest %.0f us\n",
                report.name, static_cast<unsigned long long>(report.over_limit),
                static_cast<unsigned long long>(report.over_alarm),
                static_cast<double>(report.longest.ns) / 1e3);
  }
  run_blocking(reactor, master.stop());
  return 0;
}

}  // namespace
}  // namespace pangu::master

int main(int argc, char** argv) {
  using namespace pangu;
  if (argc < 2) {
    std::fprintf(stderr, "usage: bench_master FOLDER [FILES [CLIENTS [io_uring|epoll]]]\n");
    return 2;
  }
  const u64 files = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 100'000;
  const u64 clients = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 256;
  const bool epoll = argc > 4 && std::string_view(argv[4]) == "epoll";
  return master::measure(argv[1], files, clients,
                         epoll ? env::EnvKind::epoll : env::EnvKind::automatic);
}
