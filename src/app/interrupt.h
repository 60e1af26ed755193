#pragma once
#include "env/env.h"

// SIGINT and SIGTERM as a value that the main loop looks at. The handler only stores the number and
// wakes the Env, both of which a signal handler may do.
namespace pangu::app {

class Interrupts {
 public:
  // One object at a time; `env` must outlive it. Also ignores SIGPIPE.
  explicit Interrupts(env::Env& env);
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;
  ~Interrupts();  // the handlers that were there before are back

  // 0, or the last signal's number.
  int received() const;
  // How many came: the second one of an impatient person ends a slow orderly stop.
  int count() const;
};

}  // namespace pangu::app
