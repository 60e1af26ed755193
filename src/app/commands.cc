#include <fmt/format.h>

#include "app/command.h"
#include "app/exit_code.h"
#include "app/local_file.h"
#include "app/nearest.h"
#include "app/process.h"
#include "app/report.h"
#include "base/log.h"

namespace pangu::app {

extern const Command kDev, kMaster, kChunkserver, kStatus, kDemo;
extern const Command kPut, kGet, kCat, kAppend, kLs, kMkdir, kMv, kRm, kSeal, kStat;
extern const Command kBenchAppend, kBenchRead, kBenchMeta;
extern const Command kClusterStart, kClusterStatus, kClusterStop, kClusterKill, kClusterRestart,
    kClusterPause, kClusterResume;
extern const Command kSim, kBenchLimit, kCheckNamespace;
extern const Command kAdminServerList, kAdminServerDrain, kAdminServerUndrain, kAdminServerRemove;
extern const Command kAdminMemberList, kAdminMemberAdd, kAdminMemberRemove;
extern const Command kAdminPartitionList, kAdminPartitionMove, kAdminPartitionLead;
extern const Command kChunkFormat, kChunkInspect, kChunkVerify;
extern const Command kConfigCheck, kConfigShow, kHelp;

namespace {
constexpr const Command* kCommands[] = {
    &kDev, &kStatus, &kDemo,
    &kClusterStart, &kClusterStatus, &kClusterStop, &kClusterKill, &kClusterRestart,
    &kClusterPause, &kClusterResume,
    &kMaster, &kChunkserver,
    &kAdminServerList, &kAdminServerDrain, &kAdminServerUndrain, &kAdminServerRemove,
    &kAdminMemberList, &kAdminMemberAdd, &kAdminMemberRemove,
    &kAdminPartitionList, &kAdminPartitionMove, &kAdminPartitionLead,
    &kPut, &kGet, &kCat, &kAppend, &kLs, &kStat, &kMkdir, &kMv, &kRm, &kSeal,
    &kBenchAppend, &kBenchRead, &kBenchMeta, &kBenchLimit, &kSim, &kCheckNamespace,
    &kChunkFormat, &kChunkInspect, &kChunkVerify,
    &kConfigCheck, &kConfigShow, &kHelp,
};

constexpr Flag kGlobalFlags[] = {
    {.name = "cluster", .kind = ValueKind::text, .value_name = "HOST:PORT[,...]",
     .help = "masters to ask; also PANGU_CLUSTER", .config = "cluster.masters"},
    {.name = "config", .kind = ValueKind::text, .value_name = "FILE",
     .help = "configuration file; also PANGU_CONFIG"},
    {.name = "key-file", .kind = ValueKind::text, .value_name = "FILE",
     .help = "file with the cluster's key", .config = "cluster.key_file"},
    {.name = "timeout", .kind = ValueKind::duration, .value_name = "TIME",
     .help = "how long one operation may take", .config = "client.timeout"},
    {.name = "json", .help = "print JSON for programs"},
    {.name = "verbose", .help = "log what happens, to standard error", .letter = 'v'},
    {.name = "help", .help = "explain this command", .letter = 'h'},
};
constexpr std::string_view kDefaultConfig = "/etc/pangu/pangu.toml";

struct Found {
  const Command* command = nullptr;
  size_t words = 0;  // of its name
};

// The longest command name that the words begin with.
Found find_command(std::span<const std::string> words) {
  Found found;
  for (const Command* command : kCommands) {
    const std::vector<std::string> name = split(command->name, ' ');
    if (name.size() > found.words && name.size() <= words.size() &&
        std::equal(name.begin(), name.end(), words.begin())) {
      found = {command, name.size()};
    }
  }
  return found;
}

Error unknown_command(std::span<const std::string> words) {
  std::vector<std::string_view> names;
  for (const Command* command : kCommands) {
    if (!command->hidden) {
      names.push_back(command->name);
    }
  }
  std::string written = words[0];
  // "bench apend": the group is right, its member is not.
  if (!help_text_of_group(written).empty() && words.size() > 1 && !words[1].starts_with('-')) {
    written += " " + words[1];
  } else {
    for (const Command* command : kCommands) {
      names.push_back(command->name.substr(0, command->name.find(' ')));
    }
  }
  std::string hint = did_you_mean(written, names);
  if (hint.empty()) {
    hint = "; hint: `pangu help` lists the commands";
  }
  return Error(Code::kInvalidArgument, fmt::format("unknown command '{}'{}", written, hint));
}

// How many words the flags take that stand before the command.
size_t leading_flags(std::span<const std::string> words) {
  size_t at = 0;
  while (at < words.size() && words[at].size() > 1 && words[at][0] == '-') {
    const std::string& word = words[at];
    const auto flag = std::find_if(
        std::begin(kGlobalFlags), std::end(kGlobalFlags),
        [&](const Flag& f) { return word == fmt::format("--{}", f.name); });
    const bool takes_next = flag != std::end(kGlobalFlags) && flag->kind != ValueKind::toggle;
    at += takes_next ? 2 : 1;
  }
  return std::min(at, words.size());
}

int fail(const Error& error) {
  print_error(error);
  return exit_code_of(error.code());
}

Result<Config> load_config(const Args& args) {
  ConfigSource source;
  source.flags = args.config_overrides();
  source.environment = environment_value;
  std::string path = args.given("config") ? args.text("config")
                                          : environment_value("PANGU_CONFIG").value_or("");
  const bool named = !path.empty();
  path = named ? path : std::string(kDefaultConfig);
  auto text = read_small_file(path);
  if (text.ok()) {
    source.file.emplace(path, std::move(*text));
  } else if (named || text.code() != Code::kNotFound) {
    return std::move(text).error();
  }
  return Config::load(source);
}

LogLevel log_level_of(const Command& command, const Invocation& invocation) {
  if (invocation.verbose()) {
    return LogLevel::debug;
  }
  if (!command.server && invocation.config.origin("runtime.log_level") == Origin::built_in) {
    return LogLevel::error;
  }
  const std::string& name = invocation.config.text("runtime.log_level");
  return name == "debug"   ? LogLevel::debug
         : name == "warn"  ? LogLevel::warn
         : name == "error" ? LogLevel::error
                           : LogLevel::info;
}

int run_command(const Command& command, std::span<const std::string> words) {
  auto args = Args::parse(syntax_of(command), words);
  if (!args.ok()) {
    std::string text(args.error().context());
    if (text.find("; hint: ") == text.npos) {
      text += fmt::format("; hint: `pangu {} --help` shows its usage", command.name);
    }
    return fail(Error(Code::kInvalidArgument, std::move(text)));
  }
  if (args->given("help")) {
    const Status printed = print(help_text(command));
    return printed.ok() ? kExitOk : kExitFailed;
  }
  auto config = load_config(*args);
  if (!config.ok()) {
    return fail(config.error());
  }
  Invocation invocation{std::move(*args), std::move(*config)};
  set_log_level(log_level_of(command, invocation));
  raise_open_files(invocation.config.count("limits.open_files"));
  const Status status = command.run(invocation);
  return status.ok() ? invocation.exit_code : fail(status.error());
}
}  // namespace

std::span<const Command* const> all_commands() { return kCommands; }
std::span<const Flag> global_flags() { return kGlobalFlags; }

Syntax syntax_of(const Command& command) {
  Syntax syntax;
  syntax.flags.assign(command.flags.begin(), command.flags.end());
  syntax.flags.insert(syntax.flags.end(), std::begin(kGlobalFlags), std::end(kGlobalFlags));
  syntax.arguments = command.arguments;
  syntax.arguments_min = command.arguments_min;
  syntax.arguments_max = command.arguments_max;
  return syntax;
}

int run_command_line(std::span<const std::string> words) {
  const size_t leading = leading_flags(words);
  const auto before = words.first(leading);
  const auto after = words.subspan(leading);
  const auto has = [](std::span<const std::string> in, std::string_view word) {
    return std::find(in.begin(), in.end(), word) != in.end();
  };
  if (has(before, "--version")) {
    return print(fmt::format("pangu {}\n", kProgramVersion)).ok() ? kExitOk : kExitFailed;
  }
  const bool help = has(before, "--help") || has(before, "-h");
  if (after.empty()) {
    if (help) {
      return print(help_text()).ok() ? kExitOk : kExitFailed;
    }
    print_note(help_text());
    return kExitUsage;
  }
  const Found found = find_command(after);
  if (found.command == nullptr) {
    const std::string group = help_text_of_group(after[0]);
    const bool bare = after.size() == 1 || has(after, "--help") || has(after, "-h");
    if (group.empty() || !bare) {
      return fail(unknown_command(after));
    }
    if (after.size() == 1) {
      print_note(group);
      return kExitUsage;
    }
    return print(group).ok() ? kExitOk : kExitFailed;
  }
  std::vector<std::string> rest(before.begin(), before.end());
  const auto own = after.subspan(found.words);
  rest.insert(rest.end(), own.begin(), own.end());
  return run_command(*found.command, rest);
}

}  // namespace pangu::app
