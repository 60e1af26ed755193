#pragma once
#include <memory>
#include <vector>

#include "base/prng.h"
#include "client/links.h"
#include "client/testing/fake_chunkserver.h"
#include "client/testing/fake_master.h"
#include "env/sim/world.h"
#include "pangu/client.h"

// A whole cluster in memory on one reactor and simulated time, with a network that delays, loses
// and cuts as it is told. A client gets to it through fake_links(), without any transport.
namespace pangu::client::testing {

struct FakeNetwork {
  Duration delay_min = microseconds(20);
  Duration delay_max = microseconds(120);
  // Of each call: the client hears that the connection broke. Half of these requests arrive all
  // the same, up to `late_max` later.
  double loss = 0;
  Duration late_max = milliseconds(300);
};

// What befalls one server, for all its callers.
struct FakeFaults {
  bool down = false;    // refuses connections; what is under way breaks
  bool silent = false;  // takes requests and answers nothing
  bool frozen = false;  // requests wait until it thaws, then are carried out
  Duration slow;        // each request takes this much longer
};

class FakeCluster {
 public:
  // Servers 1 to `servers`.
  FakeCluster(u64 seed, size_t servers, const FakeMasterOptions& masters = {});
  ~FakeCluster();

  Reactor& reactor() { return *reactor_; }
  Prng& prng() { return prng_; }
  FakeMaster& master() { return *master_; }
  size_t masters() const { return masters_.size(); }
  // Of process `node`.
  FakeFaults& master_faults(u64 node = 1) { return masters_[node - 1]->faults; }
  void thaw_master(u64 node);
  FakeChunkserver& server(u32 id) { return *servers_[id - 1]->server; }
  FakeFaults& faults(u32 id) { return servers_[id - 1]->faults; }
  size_t servers() const { return servers_.size(); }
  FakeNetwork& network() { return network_; }
  void thaw(u32 id);
  // Kill and start again: volatile state is gone.
  void restart(u32 id);

  std::unique_ptr<Client> client(ClientOptions options = {});
  std::unique_ptr<Links> links();
  // Drives the reactor until `task` is done.
  template <class T>
  T run(Task<T> task) {
    return run_blocking(*reactor_, std::move(task));
  }
  void run_for(Duration duration);

 private:
  friend class FakeLinks;
  struct End {
    env::Address address;
    FakeFaults faults;
    std::unique_ptr<FakeChunkserver> server;  // none: a master
    u64 node = 0;                             // of a master
    WaitList thawed;
    Instant last_arrival;  // requests of all callers arrive in order
  };
  struct Call;
  End& end_at(const env::Address& address);
  static void thaw(End& end);
  Task<void> deliver(std::shared_ptr<Call> call);
  Duration delay();

  env::sim::World world_;
  env::sim::Node& node_;
  std::unique_ptr<Reactor> reactor_;
  Prng prng_;
  FakeNetwork network_;
  Gate gate_;
  std::vector<std::unique_ptr<End>> masters_;
  std::vector<std::unique_ptr<End>> servers_;
  std::unique_ptr<FakeMaster> master_;
};

}  // namespace pangu::client::testing
