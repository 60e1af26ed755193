#pragma once
#include <set>
#include <string>
#include <vector>

#include "raft/testing/checker.h"

// Runs a text that tells a situation: who campaigns, which messages arrive, what must then be so.
// One command a line, # begins a comment. Messages wait until a command delivers them; writes,
// applying and snapshots happen at once unless the node's disk is slow. The checkers watch every
// step.
//
//   cluster 3 [quiesce=MS append=BYTES window=BYTES]   nodes 1 to 3, all voters
//   spare 4 5                 nodes that belong to no group yet
//   campaign N                as if N's election timeout had passed
//   propose N TEXT...         each word a command, in one batch
//   change N +4 -1 ~5 [joint] [stay]   +voter -removed ~learner
//   leave N                   the joint configuration
//   transfer N M · unreachable N M · wake N · compact N INDEX
//   read N CONTEXT            a number
//   refuse CODE: COMMAND      the command must fail with this error
//   deliver [A->B]            all messages, and what they cause, until quiet; or only those now
//   under
//                             way from A to B; * is anybody
//   drop A->B · duplicate A->B · reverse    messages under way
//   cut A->B · heal           messages from now on are lost when delivered
//   pass MS                   time passes and everything works
//   wait [N...] MS            time passes, these nodes notice it, and no message is delivered
//   disk N slow|fast · persist N [COUNT]    slow: writes wait for `persist`
//   forgets N K               every K-th entry of N must be read from disk
//   crash N [keep COUNT] · restart N
//   expect WHAT N... = VALUE  role term vote leader commit applied (indexes) commands base disk
//   last
//                             log asleep members
//   expect read N CONTEXT = INDEX|none · expect under-way = COUNT
namespace pangu::raft::testing {

class Script {
 public:
  Script();
  // Empty, or what went wrong where, with the trace before it.
  std::string run(const std::string& name, const std::string& text);
  const std::string& trace() const { return trace_; }

 private:
  using Words = std::vector<std::string>;
  struct Way {
    NodeId from;
    NodeId to;
    bool covers(NodeId a, NodeId b) const;
  };

  // Each returns an empty text or what is wrong.
  std::string run_line(const std::string& line);
  std::string run_words(const Words& words);
  std::string refuse(const Words& words);
  std::string setup(const Words& words);
  std::string drive_core(const Words& words);
  std::string change(const Words& words);
  std::string move_messages(const Words& words);
  std::string move_world(const Words& words);
  std::string expect(const Words& words);
  std::string actual(const std::string& what, Node& node) const;
  std::string actual_of_core(const std::string& what, const Node& node) const;

  void settle();
  void deliver_all();
  void deliver_some(Way way);
  void deliver_one(Message message);
  bool parse_way(const std::string& word, Way& way) const;
  std::string note(const Status& status);
  void say(const std::string& line) { trace_ += "    " + line + "\n"; }

  Group group_;
  Checker checker_;
  std::vector<Message> under_way_;
  std::vector<Way> cuts_;
  std::set<NodeId> slow_;
  std::string trace_;
  std::string refused_;  // name of the last command's error
};

}  // namespace pangu::raft::testing
