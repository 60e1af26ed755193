#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "client/lookups.h"
#include "client/way_cache.h"

// From paths to ways and entries. A path of any depth takes one parallel round of lookups, because
// the ids of directories can be guessed; with the way to its directory remembered, one lookup at
// the one group that has it (docs/design/0006, "Looking up a path").
//
// What is answered was so at one moment between the call and its answer.
namespace pangu::client {

// What stands at a path: an entry of a directory.
struct Found {
  Way parent;       // to that directory; no chain: the path is the root's
  pb::Entry entry;
};

class PathResolver {
 public:
  // All must outlive it.
  PathResolver(Reactor& reactor, Gate& gate, MetaClient& meta, ClientCounters& counters,
               size_t ways_cached);

  // The way to the directory `path`, maybe a remembered one that is not right any more: then the
  // group that it is shown to says so, forget() it and ask again.
  //   kInvalidArgument  `path` is none
  //   kNotFound, kNotDirectory  name the part that is missing, or a file
  Task<Result<Way>> directory(std::string path, Instant deadline);
  // What stands at `path`. Errors as directory().
  Task<Result<Found>> lookup(std::string path, Instant deadline);
  // How far `path` goes: what stands at its first parts, up to a part that is missing or a file.
  Task<Result<std::vector<pb::Entry>>> explore(std::string path, Instant deadline);
  // A group refused the way to the directory `path`: it and those below it are looked up again.
  void note_stale(const std::string& path);
  // The same where the caller itself moved or removed it.
  void forget(const std::string& path) { ways_.forget(path); }
  // An answer of a namespace group.
  void note_epoch(u64 tree_epoch) { epoch_heard_ = std::max(epoch_heard_, tree_epoch); }
  // `way` leads to the directory `path`.
  void learn(const std::string& path, Way way);

 private:
  // What is found out about a path part by part, from the root on.
  struct Walk {
    std::vector<std::string> names;
    std::vector<u64> chain;          // directories found so far, the root included
    std::vector<pb::Entry> entries;  // of names, from the first on
    bool missing = false;            // the next name is not there
    u64 moved_max = 0;
    u64 epoch_min = ~u64{0};
    bool ended() const;
    // Answers of several groups fit together: each knew of all moves that any of them knew of.
    bool fits() const { return moved_max <= epoch_min; }
  };
  // One round's questions: `directories[i]` is where names[first + i] is looked for.
  struct Round;

  Task<Result<Walk>> walk(std::string path, Instant deadline);
  Task<Result<Walk>> walk_once(std::vector<std::string> names, Instant deadline);
  std::vector<u64> guess(const Walk& walk);
  Task<Status> send_round(std::shared_ptr<Round> round, Instant deadline);
  Task<void> ask_group(std::shared_ptr<Round> round, u64 group, std::vector<size_t> members,
                       std::vector<pb::Place> places, Instant deadline);
  Status take(const Round& round, Walk& walk, bool& torn);
  void remember(const Walk& walk);
  Way root_way() const;
  Task<Result<Way>> renewed_root_way(Instant deadline);
  std::optional<Way> remembered(const std::string& path);
  Task<Result<std::optional<Found>>> lookup_by_way(std::string path, Way way, Instant deadline);

  Reactor& reactor_;
  Gate& gate_;
  MetaClient& meta_;
  ClientCounters& counters_;
  Lookups lookups_;
  WayCache ways_;
  u64 epoch_heard_ = 0;
  bool root_is_doubtful_ = false;
};

// The parts of `path` up to the last: "/a/b" has the parent "/a" and the name "b".
// REQUIRES: wire::parse_path takes it, and it is not "/"
std::string parent_path(const std::string& path);
std::string last_name(const std::string& path);

}  // namespace pangu::client
