#pragma once
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "sim/namespace_model.h"
#include "sim/stage.h"

// Directory trees, each changed by one client only, so that every answer is predictable
// (sim/namespace_model.h); and names that all clients try to create exclusively, of which each must
// have one creator at most.
namespace pangu::sim {

class NamespaceWorkload {
 public:
  // Uses a fresh directory, and a fresh client, until the run winds down.
  Task<void> act(Actor& actor);
  // Compares everything with what a fresh client sees, when nobody changes anything any more.
  Task<void> check_all(Actor& actor);

  static constexpr const char* kRaceFolder = "/race";

 private:
  // What one life of one client host did in its directory.
  struct Tree {
    std::string root;
    NamespaceModel model;
    std::optional<NamespaceOp> pending;  // the process died in the middle of it
  };
  struct Race {
    u32 begun = 0;        // attempts
    u32 failed = 0;       // that surely did not create it
    u32 created = 0;      // that surely did
    bool exists = false;  // surely, for every attempt that begins from now on
    u64 id = 0;
  };

  NamespaceOp draw_op(Prng& prng, const Tree& tree);
  Task<void> perform(Actor& actor, Tree& tree, NamespaceOp op);
  static Task<Result<NamespaceAnswer>> call(Actor& actor, const Tree& tree, NamespaceOp op);
  static Task<Result<NamespaceAnswer>> call_list(Actor& actor, std::string path, bool in_pages);
  Task<void> race(Actor& actor);
  Task<void> check_tree(Actor& actor, Tree& tree);
  Task<void> check_race(Actor& actor, std::string path, Race& race);

  std::deque<Tree> trees_;
  std::deque<Race> races_;
};

}  // namespace pangu::sim
