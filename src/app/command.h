#pragma once
#include <span>
#include <string_view>

#include "app/args.h"
#include "app/config.h"
#include "base/result.h"

// A command of `pangu`: one table entry and one function, in a file of its own (cmd_*.cc).
namespace pangu::app {

inline constexpr std::string_view kProgramVersion = "0.1.0";

// What a command is run with.
struct Invocation {
  Args args;
  Config config;
  // What the shell gets if the command succeeds: for a command that found something wrong.
  int exit_code = 0;

  bool json() const { return args.toggle("json"); }
  bool verbose() const { return args.toggle("verbose"); }
};

enum class CommandGroup : u8 { cluster, files, measuring, devices, other };

struct Command {
  std::string_view name;  // "bench append"
  CommandGroup group = CommandGroup::other;
  std::string_view summary;     // a line
  std::string_view arguments;   // "SOURCE... PATH"
  size_t arguments_min = 0;
  size_t arguments_max = 0;
  std::span<const Flag> flags;
  std::string_view details;     // paragraphs
  std::string_view examples;    // lines
  Status (*run)(Invocation& invocation) = nullptr;
  bool hidden = false;
  bool server = false;  // logs what it does; other commands only log errors, unless --verbose
};

// Every command, in the order in which help lists them.
std::span<const Command* const> all_commands();
// The flags that every command accepts.
std::span<const Flag> global_flags();
// Flags of `command` and the global ones.
Syntax syntax_of(const Command& command);

std::string help_text();
std::string help_text(const Command& command);
// For a group such as "bench": its commands. Empty if there is no such group.
std::string help_text_of_group(std::string_view group);

// Runs `words` (without the program's name), prints errors, returns the exit code.
int run_command_line(std::span<const std::string> words);

}  // namespace pangu::app
