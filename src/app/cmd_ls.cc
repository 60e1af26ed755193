#include <fmt/format.h>

#include "app/output.h"
#include "app/report.h"
#include "app/transfer.h"
#include "base/units.h"
#include "env/linux/log_thread.h"

namespace pangu::app {

namespace {
struct Row {
  client::Entry entry;
  std::optional<client::FileInfo> info;  // of files, with -l or --json
};
// What the tasks that ask for lengths share.
struct LengthWork {
  std::string directory;
  std::vector<Row> rows;
  size_t next = 0;
  std::optional<Error> error;
};
constexpr size_t kWorkers = 16;

Task<Result<std::vector<Row>>> list_all(Session session, std::string path) {
  std::vector<Row> rows;
  std::string after;
  for (;;) {
    auto page = co_await session.client.list(path, after);
    if (!page.ok()) {
      co_return std::move(page).error();
    }
    for (client::Entry& entry : page->entries) {
      after = entry.name;
      rows.push_back({std::move(entry), std::nullopt});
    }
    if (!page->more) {
      co_return std::move(rows);
    }
  }
}

Task<void> ask_lengths(Session session, LengthWork& work) {
  while (work.next < work.rows.size() && !work.error) {
    const size_t mine = work.next++;
    if (work.rows[mine].entry.type != client::EntryType::file || work.rows[mine].info) {
      continue;
    }
    const std::string path = join_path(work.directory, work.rows[mine].entry.name);
    auto info = co_await session.client.stat(path);
    if (info.ok()) {
      work.rows[mine].info = std::move(*info);
    } else if (info.code() != Code::kNotFound) {  // removed meanwhile
      work.error = std::move(info).error();
    }
  }
}

std::string_view type_text(const client::Entry& entry) {
  return entry.type == client::EntryType::directory ? "directory" : "file";
}

std::string rows_json(const std::vector<Row>& rows) {
  JsonWriter json;
  json.begin_array();
  for (const Row& row : rows) {
    json.begin_object().field("name", row.entry.name).field("type", type_text(row.entry));
    json.field("id", row.entry.id).field("created_us", row.entry.created_us);
    if (row.info) {
      json.field("length", row.info->length).field("sealed", row.info->sealed);
    }
    json.end_object();
  }
  return json.end_array().text();
}

std::string rows_table(const std::vector<Row>& rows) {
  Table table({"TYPE", ">SIZE", ">BYTES", "CREATED", "NAME"});
  for (const Row& row : rows) {
    table.add({std::string(type_text(row.entry)),
               row.info ? format_size(row.info->length) : "-",
               row.info ? fmt::format("{}", row.info->length) : "-",
               env::format_wall_clock(row.entry.created_us),
               row.entry.name + (row.info ? "" : "/")});
  }
  return table.text();
}

std::string rows_names(const std::vector<Row>& rows) {
  std::string out;
  for (const Row& row : rows) {
    out += row.entry.name;
    out += row.entry.type == client::EntryType::directory ? "/\n" : "\n";
  }
  return out;
}

Task<Status> list(Session session) {
  const std::vector<std::string>& words = session.args().arguments();
  LengthWork work;
  work.directory = words.empty() ? "/" : words[0];
  auto rows = co_await list_all(session, work.directory);
  if (!rows.ok() && rows.code() == Code::kNotDirectory) {
    auto info = co_await session.client.stat(work.directory);  // a file by its own name
    CO_TRY_VOID(std::move(info));
    std::vector<Row> one;
    one.push_back({info->entry, *info});
    rows = std::move(one);
  }
  if (!rows.ok()) {
    co_return std::move(rows).error();
  }
  work.rows = std::move(*rows);
  const bool details = session.args().toggle("long") || session.invocation.json();
  if (details) {
    Gate gate;
    for (size_t i = 0; i < kWorkers; ++i) {
      gate.spawn(session.world.reactor(), "ls", TaskClass::foreground, ask_lengths(session, work));
    }
    co_await gate.close();
  }
  if (work.error) {
    co_return std::move(*work.error);
  }
  co_return print(session.invocation.json() ? rows_json(work.rows)
                  : details                 ? rows_table(work.rows)
                                            : rows_names(work.rows));
}

Status run_ls(Invocation& invocation) { return run_with_client(invocation, list); }

constexpr Flag kFlags[] = {
    {.name = "long", .help = "with types, sizes and times", .letter = 'l'},
};
}  // namespace

extern const Command kLs;
const Command kLs = {
    .name = "ls",
    .group = CommandGroup::files,
    .summary = "Lists a directory",
    .arguments = "[PATH]",
    .arguments_max = 1,
    .flags = kFlags,
    .examples = "pangu ls\npangu ls -l /logs\npangu ls /logs --json",
    .run = run_ls,
};

}  // namespace pangu::app
