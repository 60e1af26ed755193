#pragma once
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "app/value.h"

// The configuration of a process: one table of keys, values from built-in < file < environment <
// flag, each with its origin. docs/config.md describes every key; a test compares the two.
namespace pangu::app {

struct ConfigKey {
  std::string_view name;  // "server.listen": section and key of the TOML file
  ValueKind kind = ValueKind::text;
  std::string_view fallback;
  std::string_view help;
  std::string_view choices = {};
};
// By section, then in the order in which a person would set them.
std::span<const ConfigKey> config_keys();

enum class Origin : u8 { built_in, file, environment, flag };

struct ConfigSource {
  // The file's name and contents; none: no file.
  std::optional<std::pair<std::string, std::string>> file;
  // The value of an environment variable, or none.
  std::function<std::optional<std::string>(const std::string& name)> environment;
  // {key, value} of the flags given.
  std::map<std::string, std::string> flags;
};

// Values are checked when they are loaded, so the getters cannot fail.
class Config {
 public:
  // InvalidArgument names the file, the line where it is known, the key and the nearest valid one.
  static Result<Config> load(const ConfigSource& source);

  // REQUIRES: the key is in config_keys() with this kind.
  const std::string& text(std::string_view key) const;
  u64 count(std::string_view key) const;
  u64 size(std::string_view key) const;
  Duration duration(std::string_view key) const;
  bool toggle(std::string_view key) const;
  std::vector<std::string> list(std::string_view key) const;

  // For a cluster that this very process has started.
  void override_masters(const std::string& masters);

  Origin origin(std::string_view key) const;
  // Where the value comes from, for people: "/etc/pangu/pangu.toml", "PANGU_SERVER_LISTEN", "flag".
  const std::string& origin_text(std::string_view key) const;
  // As it would stand in a TOML file.
  std::string toml_value(std::string_view key) const;

 private:
  struct Value {
    std::string text;
    Origin origin = Origin::built_in;
    std::string origin_text;
  };
  const Value& find(std::string_view key) const;
  std::map<std::string, Value, std::less<>> values_;
};

// PANGU_SERVER_LISTEN for "server.listen".
std::string environment_name(std::string_view key);
// Variables that begin with PANGU_ but mean nothing, each with the nearest that does.
std::vector<std::string> unknown_environment(std::span<const std::string> names);

struct TomlValue {
  std::string text;
  std::string where;  // "pangu.toml line 3"
};
// The values of a TOML text by "section.key". Used by Config::load.
Result<std::map<std::string, TomlValue>> read_toml(std::string_view name, std::string_view text);

}  // namespace pangu::app
