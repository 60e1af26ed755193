#include <fmt/format.h>

#include "app/command.h"
#include "app/report.h"

namespace pangu::app {

namespace {
Status run_help(Invocation& invocation) {
  const std::vector<std::string>& words = invocation.args.arguments();
  if (words.empty()) {
    return print(help_text());
  }
  const std::string name = words.size() == 1 ? words[0] : fmt::format("{} {}", words[0], words[1]);
  for (const Command* command : all_commands()) {
    if (command->name == name) {
      return print(help_text(*command));
    }
  }
  if (const std::string group = help_text_of_group(name); !group.empty()) {
    return print(group);
  }
  return Error(Code::kInvalidArgument,
               fmt::format("no command '{}'; hint: `pangu help` lists the commands", name));
}
}  // namespace

extern const Command kHelp;
const Command kHelp = {
    .name = "help",
    .summary = "Lists the commands or explains one",
    .arguments = "[COMMAND]",
    .arguments_max = 2,
    .examples = "pangu help\npangu help bench append",
    .run = run_help,
};

}  // namespace pangu::app
