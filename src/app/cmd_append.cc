#include <fmt/format.h>

#include "app/report.h"
#include "app/transfer.h"

namespace pangu::app {

namespace {
// Each piece as it comes; says where it stands once it is durable.
Task<Status> append_with_acks(Session session, client::Writer& writer, LocalSource& source) {
  const Slice block = Slice::allocate(session.args().size("block"));
  for (;;) {
    auto got = co_await source.read(block.mutable_bytes(), true);
    CO_TRY_VOID(std::move(got));
    if (*got == 0) {
      co_return ok_status();
    }
    auto offset = co_await writer.append(block.bytes().first(*got));
    CO_TRY_VOID(std::move(offset));
    CO_TRY_VOID(print(fmt::format("{} {}\n", *offset, *got)));
  }
}

Task<Status> append_all(Session session, client::Writer& writer, LocalSource& source) {
  Progress progress("append", source.size(), session.world.now());
  for (;;) {
    const Slice block = Slice::allocate(session.args().size("block"));
    auto got = co_await source.read(block.mutable_bytes(), true);
    CO_TRY_VOID(std::move(got));
    if (*got == 0) {
      break;
    }
    Status queued = co_await writer.enqueue(block.part(0, *got));
    CO_TRY_VOID(std::move(queued));
    progress.add(*got, session.world.now());
  }
  Status flushed = co_await writer.flush();
  CO_TRY_VOID(std::move(flushed));
  progress.finish(session.world.now());
  co_return ok_status();
}

Task<Status> append(Session session) {
  CO_TRY(source, LocalSource::open(session.args().text("from")));
  client::OpenOptions options;
  options.create = session.args().toggle("create");
  options.file = file_options(session.invocation.config);
  const std::string path = session.args().arguments()[0];
  auto writer = co_await session.client.open_for_append(path, options);
  if (!writer.ok()) {
    Error error = std::move(writer).error();
    if (error.code() == Code::kNotFound) {
      error = Error(Code::kNotFound, fmt::format("{}; hint: --create makes it", path));
    }
    co_return std::move(error);
  }
  Status appended;
  if (session.args().toggle("acks")) {
    appended = co_await append_with_acks(session, **writer, source);
  } else {
    appended = co_await append_all(session, **writer, source);
  }
  Status closed = co_await (*writer)->close();
  CO_TRY_VOID(std::move(appended));
  co_return closed;
}

Status run_append(Invocation& invocation) {
  const u64 block = invocation.args.size("block");
  if (block == 0 || block > 64 * kMiB) {
    return Error(Code::kInvalidArgument, "--block is 1 to 64M");
  }
  return run_with_client(invocation, append);
}

constexpr Flag kFlags[] = {
    {.name = "create", .help = "make the file if it is absent"},
    {.name = "from", .kind = ValueKind::text, .value_name = "FILE",
     .help = "what to append; - is standard input", .fallback = "-"},
    {.name = "block", .kind = ValueKind::size, .value_name = "SIZE",
     .help = "bytes to take from the input at a time, at most", .fallback = "1M"},
    {.name = "acks", .help = "print offset and size of each piece once it is durable"},
};
}  // namespace

extern const Command kAppend;
const Command kAppend = {
    .name = "append",
    .group = CommandGroup::files,
    .summary = "Appends standard input to a file",
    .arguments = "PATH",
    .arguments_min = 1,
    .arguments_max = 1,
    .flags = kFlags,
    .details = "Takes the file over from whoever wrote it before. Whatever --acks has printed\n"
               "stays in the file, whatever happens to this process.",
    .examples = "journalctl -f | pangu append /logs/journal --create\n"
                "echo hello | pangu append /hello --acks",
    .run = run_append,
};

}  // namespace pangu::app
