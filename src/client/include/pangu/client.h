#pragma once
#include <memory>
#include <string>

#include "pangu/counters.h"
#include "pangu/options.h"
#include "pangu/reader.h"
#include "pangu/writer.h"
#include "runtime/reactor.h"
#include "runtime/task.h"

// The client SDK: files of a cluster, on one reactor.
//
//   auto client = co_await Client::open(reactor, {.masters = {"127.0.0.1:7100"}});
//   auto writer = co_await (*client)->open_for_append("/log");
//   auto offset = co_await (*writer)->append(bytes);
//
// Every call ends by its deadline (ClientOptions::op_timeout) with a result or an Error whose text
// says what happened to which object. Retries, other replicas, other servers and the recovery of
// files that were left open happen inside. For threads and plain functions there is
// pangu/blocking.h.
namespace pangu::client {

struct ClientCore;
class Links;

class Client {
 public:
  // Connects to the first master that answers. kInvalidArgument names an address that is none.
  static Task<Result<std::unique_ptr<Client>>> open(Reactor& reactor, ClientOptions options);
  // For tests and simulations that bring their own network.
  static Result<std::unique_ptr<Client>> with_links(Reactor& reactor, ClientOptions options,
                                                    std::unique_ptr<Links> links);
  ~Client();  // REQUIRES: stop() returned, or the reactor was abandoned
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // With create.exclusive false, the file that is there already will do.
  Task<Result<Entry>> create(std::string path, CreateOptions options = {});
  // Fences whoever wrote the file before, recovers its end if need be, and makes this its writer.
  //   kUndecidable  too few replicas answer to decide the end; it names those that are missing.
  //                 What was settled before stays readable
  //   kWrongEpoch   another opener came while this one recovered the file
  //   kReadOnly     the file is sealed
  Task<Result<std::unique_ptr<Writer>>> open_for_append(std::string path, OpenOptions options = {});
  Task<Result<std::unique_ptr<Reader>>> open_for_read(std::string path);
  Task<Result<FileInfo>> stat(std::string path);
  // Names greater than `after`, at most `limit` of them (0: the master's choice).
  Task<Result<ListPage>> list(std::string path, std::string after = {}, u32 limit = 0);
  Task<Result<Entry>> make_directory(std::string path, bool parents = false);
  Task<Status> rename(std::string from, std::string to);
  // A file, or an empty directory, or with `recursive` one with everything in it.
  Task<Result<Removed>> remove(std::string path, bool recursive = false);
  // Makes the file immutable, fencing its writer; returns its length.
  Task<Result<u64>> seal(std::string path);
  Task<Result<ClusterSummary>> cluster_info();

  const ClientCounters& counters() const;
  // Ends everything: appends in flight fail with kUnknownOutcome. Writers and Readers may be
  // destroyed before or after.
  Task<void> stop();

 private:
  friend ClientCore& core_of(Client& client);
  explicit Client(std::shared_ptr<ClientCore> core);
  Task<Result<Entry>> lookup_file(std::string path);

  std::shared_ptr<ClientCore> core_;  // Writers and Readers have shares
};

}  // namespace pangu::client
