#include "app/transfer.h"

#include <fmt/format.h>

#include <deque>

namespace pangu::app {

std::string join_path(std::string_view directory, std::string_view name) {
  const bool slash = !directory.empty() && directory.back() == '/';
  return fmt::format("{}{}{}", directory, slash || name.empty() ? "" : "/", name);
}

Task<Result<bool>> is_directory(Session session, std::string path) {
  const auto info = co_await session.client.stat(path);
  if (!info.ok() && info.code() != Code::kNotFound) {
    co_return info.error();
  }
  co_return info.ok() && info->entry.type == client::EntryType::directory;
}

namespace {
Task<Result<u64>> append_all(World& world, client::Writer& writer, LocalSource& source,
                             Progress& progress) {
  u64 total = 0;
  for (;;) {
    const Slice block = Slice::allocate(kTransferBlock);
    auto got = co_await source.read(block.mutable_bytes(), false);
    CO_TRY_VOID(std::move(got));
    const size_t bytes = *got;
    if (bytes > 0) {
      Status queued = co_await writer.enqueue(block.part(0, bytes));
      CO_TRY_VOID(std::move(queued));
      total += bytes;
      progress.add(bytes, world.now());
    }
    if (bytes < block.size()) {
      co_return total;
    }
  }
}

Task<Result<u64>> write_new(Session session, LocalSource& source, std::string path,
                            Progress& progress) {
  auto writer = co_await session.client.open_for_append(path);
  if (!writer.ok()) {
    co_return std::move(writer).error();
  }
  auto total = co_await append_all(session.world, **writer, source, progress);
  Status closed = co_await (*writer)->close();
  if (total.ok() && !closed.ok()) {
    co_return std::move(closed).error();
  }
  co_return total;
}
}  // namespace

Task<Result<u64>> put_file(Session session, LocalSource& source, std::string path,
                           client::FileOptions options, Progress& progress) {
  client::CreateOptions create;
  create.file = options;
  auto created = co_await session.client.create(path, create);
  if (!created.ok()) {
    co_return std::move(created).error();
  }
  auto total = co_await write_new(session, source, path, progress);
  if (!total.ok()) {
    const auto removed = co_await session.client.remove(path);
    if (!removed.ok()) {
      co_return std::move(total).error().within(
          fmt::format("{} is incomplete and could not be removed", path));
    }
  }
  co_return total;
}

namespace {
// A read in flight.
struct Block {
  u64 offset = 0;
  Slice buffer;
  std::optional<Result<u64>> result;
  Event done;
};
constexpr size_t kReadsInFlight = 8;

Task<void> fill(client::Reader& reader, Block& block) {
  block.result.emplace(co_await reader.read(block.offset, block.buffer.mutable_bytes()));
  block.done.set();
}

// Reads [at, end) and writes it in order.
Task<Result<u64>> copy_range(World& world, client::Reader& reader, u64 at, u64 end,
                             LocalSink& sink, Progress& progress, Gate& gate,
                             std::deque<std::unique_ptr<Block>>& blocks) {
  u64 next = at;
  u64 total = 0;
  while (next < end || !blocks.empty()) {
    while (next < end && blocks.size() < kReadsInFlight) {
      auto block = std::make_unique<Block>();
      block->offset = next;
      block->buffer = Slice::allocate(std::min(kTransferBlock, end - next));
      next += block->buffer.size();
      gate.spawn(world.reactor(), "get", TaskClass::foreground, fill(reader, *block));
      blocks.push_back(std::move(block));
    }
    Block& first = *blocks.front();
    while (!first.done.is_set()) {
      co_await first.done.wait();
    }
    if (!first.result->ok()) {
      co_return first.result->error();
    }
    const u64 got = **first.result;
    if (got != first.buffer.size()) {
      co_return Error(Code::kInternal,
                      fmt::format("{} bytes at {} were promised, {} came", first.buffer.size(),
                                  first.offset, got));
    }
    Status written = co_await sink.write(first.buffer.bytes());
    CO_TRY_VOID(std::move(written));
    total += got;
    progress.add(got, world.now());
    blocks.pop_front();
  }
  co_return total;
}
}  // namespace

Task<Result<u64>> get_file(Session session, std::string path, Range range, LocalSink& sink,
                           Progress& progress) {
  auto reader = co_await session.client.open_for_read(path);
  if (!reader.ok()) {
    co_return std::move(reader).error();
  }
  auto length = co_await (*reader)->length();
  if (!length.ok()) {
    co_return std::move(length).error();
  }
  if (range.offset > *length) {
    co_return Error(Code::kInvalidArgument,
                    fmt::format("{} has {} bytes: nothing at offset {}", path, *length,
                                range.offset));
  }
  const u64 end = range.offset + std::min(range.length, *length - range.offset);
  progress.set_total(end - range.offset);
  Gate gate;
  std::deque<std::unique_ptr<Block>> blocks;
  auto total = co_await copy_range(session.world, **reader, range.offset, end, sink, progress,
                                   gate, blocks);
  co_await gate.close();
  co_return total;
}

}  // namespace pangu::app
