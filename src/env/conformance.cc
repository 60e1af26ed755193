#include "env/conformance.h"

#include "base/prng.h"

namespace pangu::env::conformance {

void Aligned::fill(u64 seed) {
  Prng prng(seed);
  for (size_t i = 0; i < size_; i += sizeof(u64)) {
    const u64 word = prng.next();
    std::memcpy(data_ + i, &word, std::min(sizeof word, size_ - i));
  }
}

i64 finish(World& world, Waited& op) {
  EXPECT_TRUE(world.run_until([&op] { return op.finished; })) << "the operation never completed";
  return op.result;
}

i64 write_now(World& world, File& file, u64 offset, Bytes from, Durability durability, i32 slot) {
  Waited op;
  file.write(op, offset, from, durability, slot);
  return finish(world, op);
}

i64 read_now(World& world, File& file, u64 offset, MutableBytes into) {
  Waited op;
  file.read(op, offset, into);
  return finish(world, op);
}

i64 flush_now(World& world, File& file) {
  Waited op;
  file.flush(op);
  return finish(world, op);
}

Connection::Connection(World& world) {
  auto listening = world.env().listen(world.listen_address());
  EXPECT_TRUE(listening.ok()) << (listening.ok() ? "" : listening.error().message());
  if (!listening.ok()) {
    return;
  }
  listener = std::move(*listening);
  Waited accepted;
  Waited connected;
  listener->accept(accepted, server);
  world.peer().connect(connected, listener->address(), client);
  EXPECT_EQ(finish(world, connected), 0);
  EXPECT_EQ(finish(world, accepted), 0);
  EXPECT_NE(client, nullptr);
  EXPECT_NE(server, nullptr);
}

}  // namespace pangu::env::conformance
