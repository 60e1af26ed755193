#include "env/conformance.h"

#include "env/linux/test_world.h"

namespace pangu::env::conformance {
namespace {

std::vector<WorldMaker> linux_worlds() {
  const auto maker = [](EnvKind kind) {
    return [kind]() -> std::unique_ptr<World> { return std::make_unique<LinuxWorld>(kind); };
  };
  std::vector<WorldMaker> worlds{{"epoll", maker(EnvKind::epoll)}};
  if (make_env(EnvKind::io_uring).ok()) {
    worlds.push_back({"io_uring", maker(EnvKind::io_uring)});
  }
  return worlds;
}

INSTANTIATE_TEST_SUITE_P(Linux, Conformance, testing::ValuesIn(linux_worlds()), world_name);

}  // namespace
}  // namespace pangu::env::conformance
