#pragma once
#include <map>
#include <vector>

#include "client/chunk_place.h"
#include "runtime/reactor.h"
#include "wire/data_plane.h"

// Tells the replicas of idle writers how far they are committed: appends carry it otherwise. One
// message a server for many chunks, a little after the last acknowledgement.
namespace pangu::client {

struct ClientCore;

class CommittedSender {
 public:
  CommittedSender(ClientCore& core, Duration delay);

  // `committed` is a stream offset <= what the chunk's writer has acknowledged, and for a chunk
  // that was left <= the base of the next one (PROTOCOL 15). Replaces what was noted for the chunk.
  void note(const ChunkPlace& chunk, u64 committed);
  // An append has carried it.
  void forget(const ChunkId& chunk);
  // Sends at once what is noted.
  void flush();

 private:
  struct Alarm : Timer {
    CommittedSender* owner;
    explicit Alarm(CommittedSender* o);
  };
  struct Noted {
    Epoch epoch;
    u64 committed = 0;
    std::vector<Location> locations;
  };
  Task<void> send(ServerId server, std::vector<wire::CommittedEntry> entries);

  ClientCore& core_;
  const Duration delay_;
  std::map<ChunkId, Noted> noted_;
  Alarm alarm_{this};
};

}  // namespace pangu::client
