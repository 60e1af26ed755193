#include <fmt/format.h>

#include "app/command.h"
#include "app/exit_code.h"

namespace pangu::app {

namespace {
constexpr size_t kHelpColumn = 26;

std::string_view group_title(CommandGroup group) {
  switch (group) {
    case CommandGroup::cluster:
      return "Run a cluster";
    case CommandGroup::files:
      return "Store and read";
    case CommandGroup::measuring:
      return "Measure and test";
    case CommandGroup::devices:
      return "Devices";
    case CommandGroup::other:
      return "More";
  }
  return "";
}

// "  --size SIZE             payload of one append (default 4k)"
std::string two_columns(const std::string& left, const std::string& right) {
  if (left.size() + 2 > kHelpColumn) {
    return fmt::format("  {}\n  {:{}}{}\n", left, "", kHelpColumn, right);
  }
  return fmt::format("  {:{}}{}\n", left, kHelpColumn, right);
}

std::string flag_lines(std::span<const Flag> flags) {
  std::string out;
  for (const Flag& flag : flags) {
    if (flag.hidden) {
      continue;
    }
    std::string left = flag.letter != 0 ? fmt::format("-{}, ", flag.letter) : std::string();
    left += fmt::format("--{}", flag.name);
    if (flag.kind != ValueKind::toggle) {
      left += fmt::format(" {}", flag.value_name);
    }
    std::string right(flag.help);
    if (!flag.choices.empty()) {
      right += fmt::format(": {}", flag.choices);
    }
    if (!flag.fallback.empty()) {
      right += fmt::format(" (default {})", flag.fallback);
    }
    out += two_columns(left, right);
  }
  return out;
}

std::string command_lines(CommandGroup group, std::string_view prefix) {
  std::string out;
  for (const Command* command : all_commands()) {
    if (!command->hidden && command->group == group && command->name.starts_with(prefix)) {
      out += two_columns(std::string(command->name), std::string(command->summary));
    }
  }
  return out;
}
}  // namespace

std::string help_text() {
  std::string out =
      "pangu: an append-only, replicated storage system in one program.\n\n"
      "Usage: pangu COMMAND [ARGUMENTS] [FLAGS]\n";
  for (const CommandGroup group : {CommandGroup::cluster, CommandGroup::files,
                                   CommandGroup::measuring, CommandGroup::devices,
                                   CommandGroup::other}) {
    const std::string lines = command_lines(group, "");
    out += lines.empty() ? lines : fmt::format("\n{}\n{}", group_title(group), lines);
  }
  out += fmt::format("\nFlags of every command\n{}", flag_lines(global_flags()));
  out += fmt::format(
      "\nExit codes: {} done, {} failed, {} wrong usage, {} timed out, {} interrupted.\n"
      "First steps: `pangu dev` in one terminal; it prints what to try in another.\n"
      "`pangu COMMAND --help` explains one command, with examples.\n",
      int{kExitOk}, int{kExitFailed}, int{kExitUsage}, int{kExitTimeout}, int{kExitInterrupted});
  return out;
}

std::string help_text(const Command& command) {
  std::string out = fmt::format("{}\n\nUsage: pangu {}", command.summary, command.name);
  if (!command.arguments.empty()) {
    out += fmt::format(" {}", command.arguments);
  }
  out += " [FLAGS]\n";
  if (!command.details.empty()) {
    out += fmt::format("\n{}\n", command.details);
  }
  if (!command.flags.empty()) {
    out += fmt::format("\nFlags\n{}", flag_lines(command.flags));
  }
  out += fmt::format("\nFlags of every command\n{}", flag_lines(global_flags()));
  out += "\nExamples\n";
  for (const std::string& line : split(command.examples, '\n')) {
    out += fmt::format("  {}\n", line);
  }
  return out;
}

std::string help_text_of_group(std::string_view group) {
  const std::string prefix = fmt::format("{} ", group);
  std::string out;
  for (const CommandGroup one : {CommandGroup::cluster, CommandGroup::files,
                                 CommandGroup::measuring, CommandGroup::devices,
                                 CommandGroup::other}) {
    out += command_lines(one, prefix);
  }
  return out.empty() ? out : fmt::format("Usage: pangu {}COMMAND\n\n{}", prefix, out);
}

}  // namespace pangu::app
