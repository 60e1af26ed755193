#pragma once
#include "client/path_resolver.h"
#include "pangu/options.h"

// What users do with paths. Each call finds the ways, asks or changes at the groups that have the
// directories, and begins again where a way turns out to be old. Texts of errors name paths.
namespace pangu::client {

class NamespaceOps {
 public:
  // All must outlive it.
  NamespaceOps(Reactor& reactor, MetaClient& meta, PathResolver& resolver)
      : reactor_(reactor), meta_(meta), resolver_(resolver) {}

  Task<Result<pb::Entry>> create_file(std::string path, pb::FileOptions options, bool exclusive,
                                      Instant deadline);
  Task<Result<pb::Entry>> lookup(std::string path, Instant deadline);
  Task<Result<pb::ListReply>> list(std::string path, std::string after, u32 limit,
                                   Instant deadline);
  // `parents`: also what is missing above it, one after the other; no error if it is there.
  Task<Result<pb::Entry>> make_directory(std::string path, bool parents, Instant deadline);
  Task<Status> rename(std::string from, std::string to, Instant deadline);
  Task<Result<Removed>> remove(std::string path, bool recursive, Instant deadline);

 private:
  // How often a call began again.
  struct Retry {
    u32 count = 0;
    Duration pause;
    std::vector<u64> refused;  // the chain
  };
  template <class Reply, class Request>
  Task<Result<Reply>> change_in_directory(wire::Method method, std::string path, Request request,
                                          Instant deadline);
  // Waits a little before the next attempt; false: the deadline is too near. `refused`: what the
  // group called stale.
  Task<bool> again(Retry& retry, u64 group, std::vector<u64> refused, Instant deadline);
  Task<Result<pb::Entry>> make_one(std::string path, Instant deadline);
  Task<Result<pb::Entry>> make_all(std::string path, Instant deadline);

  Reactor& reactor_;
  MetaClient& meta_;
  PathResolver& resolver_;
};

}  // namespace pangu::client
