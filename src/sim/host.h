#pragma once
#include <memory>
#include <string_view>

#include "env/sim/world.h"
#include "runtime/reactor.h"

// One process on one simulated node, with its reactor. It lives, dies and is started again over the
// same disks; what kind of process it is, a derived class says.
namespace pangu::sim {

class Host {
 public:
  Host(env::sim::World& world, std::string_view name) : node_(world.add_node(name)) {}
  virtual ~Host();  // REQUIRES: halt() was called, by the destructor of the derived class
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  env::sim::Node& node() { return node_; }
  const std::string& name() const { return node_.name(); }
  Reactor& reactor() { return *reactor_; }
  bool running() const { return reactor_ != nullptr; }

  // Starts the process: a fresh one if the node is down. REQUIRES: !running()
  void start();
  // REQUIRES: running()
  void crash(env::sim::Crash how);
  void pause();
  void resume();
  // Ends whatever is there, without ceremony.
  void halt();
  // After it has stopped in order: takes the reactor away. REQUIRES: no task is left.
  void finish();

  // Grows with each pause, resume, crash and start: who measures time across one of them learns
  // nothing.
  u64 interruptions() const { return interruptions_; }

 protected:
  // The process's first task.
  virtual Task<void> run() = 0;
  // Destroys what the process made, in a scope of its (abandoned or empty) reactor.
  virtual void drop() = 0;

 private:
  env::sim::Node& node_;
  std::unique_ptr<Reactor> reactor_;
  u64 interruptions_ = 0;
};

}  // namespace pangu::sim
