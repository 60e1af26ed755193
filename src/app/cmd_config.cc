#include <fmt/format.h>

#include "app/command.h"
#include "app/local_file.h"
#include "app/output.h"
#include "app/process.h"
#include "app/report.h"

namespace pangu::app {

namespace {
std::string_view section_of(std::string_view key) { return key.substr(0, key.find('.')); }
std::string_view rest_of(std::string_view key) { return key.substr(key.find('.') + 1); }

std::string config_json(const Config& config) {
  JsonWriter json;
  json.begin_object();
  for (const ConfigKey& key : config_keys()) {
    json.key(key.name).begin_object();
    json.field("value", config.text(key.name)).field("origin", config.origin_text(key.name));
    json.end_object();
  }
  return json.end_object().text();
}

// A valid TOML file whose comments say where each value comes from.
std::string config_text(const Config& config) {
  std::string out;
  std::string_view section;
  for (const ConfigKey& key : config_keys()) {
    if (section_of(key.name) != section) {
      out += section.empty() ? "" : "\n";
      section = section_of(key.name);
      out += fmt::format("[{}]\n", section);
    }
    const std::string line =
        fmt::format("{} = {}", rest_of(key.name), config.toml_value(key.name));
    out += fmt::format("{:<36} # {}: {}\n", line, config.origin_text(key.name), key.help);
  }
  return out;
}

Status run_show(Invocation& invocation) {
  for (const std::string& warning : unknown_environment(environment_names())) {
    print_warning(warning);
  }
  return print(invocation.json() ? config_json(invocation.config)
                                 : config_text(invocation.config));
}

Status run_check(Invocation& invocation) {
  const std::string& path = invocation.args.arguments()[0];
  TRY(text, read_small_file(path));
  ConfigSource source;
  source.file.emplace(path, std::move(text));
  TRY(config, Config::load(source));
  size_t set = 0;
  for (const ConfigKey& key : config_keys()) {
    set += config.origin(key.name) == Origin::file ? 1 : 0;
  }
  return print(fmt::format("{}: ok, {} keys set\n", path, set));
}
}  // namespace

extern const Command kConfigShow;
const Command kConfigShow = {
    .name = "config show",
    .summary = "Prints the effective configuration and where each value comes from",
    .details = "A flag wins over an environment variable, that over the file, that over the\n"
               "built-in value. The output is itself a valid configuration file.",
    .examples = "pangu config show\npangu config show --config pangu.toml --json",
    .run = run_show,
};

extern const Command kConfigCheck;
const Command kConfigCheck = {
    .name = "config check",
    .summary = "Checks a configuration file",
    .arguments = "FILE",
    .arguments_min = 1,
    .arguments_max = 1,
    .examples = "pangu config check /etc/pangu/pangu.toml",
    .run = run_check,
};

}  // namespace pangu::app
