// The only file that includes toml++: it costs seconds of compile time.
#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include "app/config.h"

namespace pangu::app {

namespace {
Result<std::string> text_of(const std::string& where, const toml::node& node) {
  if (const auto* text = node.as_string()) {
    return text->get();
  }
  if (const auto* number = node.as_integer()) {
    return fmt::format("{}", number->get());
  }
  if (const auto* flag = node.as_boolean()) {
    return std::string(flag->get() ? "true" : "false");
  }
  if (const auto* array = node.as_array()) {
    std::string out;
    for (const toml::node& one : *array) {
      TRY(text, text_of(where, one));
      out += out.empty() ? text : kListSeparator + text;
    }
    return out;
  }
  return Error(Code::kInvalidArgument,
               where + " is neither a text, a whole number, true, false nor a list of these");
}
}  // namespace

Result<std::map<std::string, TomlValue>> read_toml(std::string_view name, std::string_view text) {
  const toml::parse_result parsed = toml::parse(text, name);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    return Error(Code::kInvalidArgument,
                 fmt::format("{} line {}: {}", name, error.source().begin.line,
                             error.description()));
  }
  std::map<std::string, TomlValue> out;
  for (const auto& [section, node] : parsed.table()) {
    const toml::table* table = node.as_table();
    if (table == nullptr) {
      return Error(Code::kInvalidArgument,
                   fmt::format("{} line {}: '{}' stands outside a section; write it as [section] "
                               "and below it key = value",
                               name, node.source().begin.line, section.str()));
    }
    for (const auto& [key, value] : *table) {
      const std::string full = fmt::format("{}.{}", section.str(), key.str());
      const std::string where = fmt::format("{} line {}", name, value.source().begin.line);
      TRY(value_text, text_of(fmt::format("{}: {}", where, full), value));
      out[full] = {value_text, where};
    }
  }
  return out;
}

}  // namespace pangu::app
