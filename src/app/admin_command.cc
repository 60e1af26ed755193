#include "app/admin_command.h"

namespace pangu::app {
namespace {

Task<Status> work_and_stop(Invocation& invocation, Admin& admin,
                           Task<Status> (*work)(AdminSession session)) {
  Status done = co_await work(AdminSession{invocation, admin});
  co_await admin.stop();
  co_return done;
}

}  // namespace

Status run_with_admin(Invocation& invocation, Task<Status> (*work)(AdminSession session)) {
  TRY(world, World::create(invocation.config));
  TRY(admin, Admin::create(*world, invocation.config));
  return world->run(work_and_stop(invocation, *admin, work));
}

}  // namespace pangu::app
