#include <cstdlib>
#include <new>

#include "env/linux/linux_env.h"
#include "rpc/test_service.h"

// The data path allocates nothing after warm-up: every operator new of this binary is counted.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define PANGU_SANITIZED 1
#endif
#endif

#ifndef PANGU_SANITIZED
namespace {
pangu::u64 g_allocations = 0;
}  // namespace
void* operator new(size_t size) {
  ++g_allocations;
  void* memory = std::malloc(size);
  if (memory == nullptr) {
    std::abort();
  }
  return memory;
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}

namespace pangu::rpc {
namespace {

using namespace test;  // NOLINT: the tests are about nothing else

Task<void> many_calls(Reactor& reactor, Channel& channel, const Payload& payload, u64 count) {
  std::array<std::byte, 8> body{};
  for (u64 i = 0; i < count; ++i) {
    auto response = co_await channel.call(kEcho, body, payload, within(reactor, seconds(10)));
    CHECK(response.ok() && response->code == Code::kOk);
  }
}

TEST(Allocation, NoneAfterWarmUp) {
  auto env = env::make_env();
  ASSERT_TRUE(env.ok()) << env.error().message();
  Reactor reactor(**env, ReactorOptions{});
  BufferPool pool(**env, BufferPoolOptions{});
  TestService service(pool);
  Server server(reactor, service, pool, ServerOptions{});
  ASSERT_TRUE(server.listen(*env::parse_address("127.0.0.1:0")).ok());
  Channel channel(reactor, pool, server.address(),
                  ChannelOptions{.identity = {}, .kind = ConnectionKind::data});
  const Payload payload = pattern_payload(8192, 1);
  run_blocking(reactor, many_calls(reactor, channel, payload, 300));
  run_blocking(reactor, many_calls(reactor, channel, {}, 300));
  const u64 before = g_allocations;
  run_blocking(reactor, many_calls(reactor, channel, payload, 300));
  run_blocking(reactor, many_calls(reactor, channel, {}, 300));
  // Not one for a call; a few for what happens once in a while (a slice the watchdog noticed).
  EXPECT_LE(g_allocations - before, 10u);
  run_blocking(reactor, channel.stop());
  run_blocking(reactor, server.stop());
}

}  // namespace
}  // namespace pangu::rpc
#endif
