#pragma once
#include <map>
#include <optional>

#include "client/partition_map.h"

// Whom to ask for a group: who leads it as far as is known, and which masters have been silent
// lately. Plain decisions; the caller gives the time.
//
// A master that breaks a connection, refuses one or lets a request time out without answering
// anything else meanwhile is avoided for a while. For a shorter while it is not believed either
// that it still leads: the others say so until they have elected somebody.
namespace pangu::client {

class MasterRoutes {
 public:
  // `map` must outlive it.
  explicit MasterRoutes(const PartitionMap& map) : map_(map) {}

  // The leader, if one is believed in, else the next member.
  env::Address choose(u64 group, Instant now);

  // It said something, whatever that is.
  void note_answer(const env::Address& from, Instant now);
  void note_leader(u64 group, const env::Address& leader);
  // It does not lead; `hint` does, it says. True: ask that one, at once.
  bool note_not_leader(u64 group, const env::Address& from, std::optional<env::Address> hint,
                       Instant now);
  // The connection broke, or there is none.
  void note_unreachable(u64 group, const env::Address& from, Instant now);
  // Nothing came in answer to a request that was sent at `sent`.
  void note_silence(u64 group, const env::Address& from, Instant sent, Instant now);
  // For whatever reason somebody else is to be asked next.
  void step_on(u64 group, const env::Address& from);

 private:
  struct Route {
    std::optional<env::Address> leader;
    size_t turn = 0;  // place among the members of the next to be asked
    bool asked = false;
  };
  struct Health {
    Instant answered;
    std::optional<Instant> failed;  // since it answered last
  };
  bool is_avoided(const env::Address& address, Instant now) const;
  bool is_believable(const env::Address& address, Instant now) const;

  const PartitionMap& map_;
  std::map<u64, Route> routes_;
  std::map<env::Address, Health> health_;
};

}  // namespace pangu::client
