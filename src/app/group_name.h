#pragma once
#include <string>
#include <string_view>

#include "base/result.h"

// Names of the masters' groups, for people: "root", "names-0", "streams-3".
namespace pangu::app {

std::string group_name(u64 group);
// InvalidArgument for anything that is no such name.
Result<u64> parse_group_name(std::string_view name);

}  // namespace pangu::app
