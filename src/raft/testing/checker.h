#pragma once
#include <map>
#include <vector>

#include "raft/testing/group.h"

// What must hold in every state of every run (paper, figure 3), checked after every step of every
// node with the knowledge of all nodes' disks at once.
//
//  election safety       at most one leader a term
//  log matching          an entry of the same index and term has the same log before it
//  leader completeness   a leader has everything that was committed in former terms
//  state machine safety  no two nodes commit, or apply, different entries at an index
//  monotone commit       a node's commit index never goes back while it runs
//  durable commits       at the moment of commitment a majority (of both halves) has it on disk
//  durable promises      a message leaves only when the term, vote and entries it speaks of are on
//  disk linearizable reads    a read is served at or above all that was committed when it was asked
namespace pangu::raft::testing {

class Checker : public Observer {
 public:
  explicit Checker(Group& group) : group_(group) { chosen_.push_back({}); }

  void on_ready(Node& node, const Ready& ready) override;
  void after_step(Node& node) override;
  void on_read_asked(u64 context) override;
  void on_crash(Node& node) override;
  void on_applied(Node& node) override;

  Index chosen() const { return chosen_.size() - 1; }
  u64 elections() const { return leaders_.size(); }
  u64 reads_served() const { return reads_served_; }

 private:
  struct Chosen {
    Point point;
    Term committed_in;
  };
  void check_promise(const Node& node, const Message& message);
  void check_leader(const Node& node);
  void check_commit(Node& node);
  void check_log_matching(const Node& node, const Ready& ready);
  bool durable_majority(const Node& leader, Index index, u64 chain) const;

  Group& group_;
  std::map<Term, NodeId> leaders_;
  std::vector<Chosen> chosen_;            // by index
  std::vector<std::vector<Point>> seen_;  // by index: each term's chain
  std::map<NodeId, Index> commits_;
  std::map<u64, Index> read_floor_;
  u64 reads_served_ = 0;
};

}  // namespace pangu::raft::testing
