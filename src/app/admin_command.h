#pragma once
#include "app/admin.h"
#include "app/command.h"

// The way of every command that asks masters what only operators ask.
namespace pangu::app {

struct AdminSession {
  Invocation& invocation;
  Admin& admin;
  const Args& args() const { return invocation.args; }
};

// Connects as the configuration says, runs `work`, and stops.
Status run_with_admin(Invocation& invocation, Task<Status> (*work)(AdminSession session));

}  // namespace pangu::app
