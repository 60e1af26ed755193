#include "app/group_name.h"

#include <fmt/format.h>

#include "app/value.h"
#include "wire/partition.h"

namespace pangu::app {
namespace {

constexpr std::string_view kNames = "names-";
constexpr std::string_view kStreams = "streams-";

}  // namespace

std::string group_name(u64 group) {
  if (group >= wire::kFirstStreamGroup) {
    return fmt::format("{}{}", kStreams, group - wire::kFirstStreamGroup);
  }
  if (group >= wire::kFirstNamespaceGroup) {
    return fmt::format("{}{}", kNames, group - wire::kFirstNamespaceGroup);
  }
  return group == wire::kRootGroup ? "root" : fmt::format("group-{}", group);
}

Result<u64> parse_group_name(std::string_view name) {
  if (name == "root") {
    return wire::kRootGroup;
  }
  for (const auto& [prefix, first] : {std::pair{kNames, wire::kFirstNamespaceGroup},
                                      std::pair{kStreams, wire::kFirstStreamGroup}}) {
    if (!name.starts_with(prefix)) {
      continue;
    }
    const auto index = parse_count(std::string(name.substr(prefix.size())));
    if (index.ok() && *index < wire::kPartitionsMax) {
      return first + *index;
    }
  }
  return Error(Code::kInvalidArgument,
               fmt::format("'{}' is no group; `pangu admin partition list` shows them: root, "
                           "names-0, streams-0 and so on",
                           name));
}

}  // namespace pangu::app
