#include "app/config.h"

#include <fmt/format.h>

#include "app/nearest.h"
#include "base/units.h"

namespace pangu::app {

namespace {
const ConfigKey* find_key(std::string_view name) {
  for (const ConfigKey& key : config_keys()) {
    if (key.name == name) {
      return &key;
    }
  }
  return nullptr;
}

Error unknown_key(std::string_view where, std::string_view name) {
  std::vector<std::string_view> names;
  for (const ConfigKey& key : config_keys()) {
    names.push_back(key.name);
  }
  std::string hint = did_you_mean(name, names);
  if (hint.empty()) {
    hint = "; hint: `pangu config show` lists every key";
  }
  return Error(Code::kInvalidArgument, fmt::format("{}: unknown key {}{}", where, name, hint));
}
}  // namespace

std::string environment_name(std::string_view key) {
  std::string out = "PANGU_";
  for (const char c : key) {
    out += c == '.' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  }
  return out;
}

std::vector<std::string> unknown_environment(std::span<const std::string> names) {
  std::vector<std::string> known = {"PANGU_CLUSTER", "PANGU_CONFIG", "PANGU_ENV"};
  for (const ConfigKey& key : config_keys()) {
    known.push_back(environment_name(key.name));
  }
  const std::vector<std::string_view> views(known.begin(), known.end());
  std::vector<std::string> out;
  for (const std::string& name : names) {
    if (name.starts_with("PANGU_") && std::find(known.begin(), known.end(), name) == known.end()) {
      out.push_back(fmt::format("{} means nothing to pangu{}", name, did_you_mean(name, views)));
    }
  }
  return out;
}

Result<Config> Config::load(const ConfigSource& source) {
  Config config;
  for (const ConfigKey& key : config_keys()) {
    config.values_[std::string(key.name)] = {std::string(key.fallback), Origin::built_in,
                                             "built-in"};
  }
  const auto set = [&](const std::string& name, std::string text, Origin origin,
                       const std::string& where) -> Status {
    const ConfigKey* key = find_key(name);
    if (key == nullptr) {
      return unknown_key(where, name);
    }
    if (Status status = check_value(key->kind, key->choices, text); !status.ok()) {
      return std::move(status).error().within(fmt::format("{}: {}", where, name));
    }
    config.values_[name] = {std::move(text), origin, where};
    return {};
  };
  if (source.file) {
    TRY(from_file, read_toml(source.file->first, source.file->second));
    for (const auto& [name, value] : from_file) {
      TRY_VOID(set(name, value.text, Origin::file, value.where));
    }
  }
  if (source.environment) {
    if (const auto cluster = source.environment("PANGU_CLUSTER")) {
      TRY_VOID(set("cluster.masters", *cluster, Origin::environment, "PANGU_CLUSTER"));
    }
    for (const ConfigKey& key : config_keys()) {
      const std::string variable = environment_name(key.name);
      if (auto text = source.environment(variable)) {
        if (key.kind == ValueKind::list) {
          std::replace(text->begin(), text->end(), ';', kListSeparator);
        }
        TRY_VOID(set(std::string(key.name), *text, Origin::environment, variable));
      }
    }
  }
  for (const auto& [name, text] : source.flags) {
    TRY_VOID(set(name, text, Origin::flag, "flag"));
  }
  return config;
}

const Config::Value& Config::find(std::string_view key) const {
  const auto found = values_.find(key);
  CHECK_NOTE(found != values_.end(), key);
  return found->second;
}

const std::string& Config::text(std::string_view key) const { return find(key).text; }
u64 Config::count(std::string_view key) const { return *parse_count(find(key).text); }
u64 Config::size(std::string_view key) const { return *parse_size(find(key).text); }
Duration Config::duration(std::string_view key) const { return *parse_duration(find(key).text); }
bool Config::toggle(std::string_view key) const { return *parse_toggle(find(key).text); }
std::vector<std::string> Config::list(std::string_view key) const {
  return split(find(key).text, kListSeparator);
}
void Config::override_masters(const std::string& masters) {
  values_["cluster.masters"] = {masters, Origin::flag, "started here"};
}
Origin Config::origin(std::string_view key) const { return find(key).origin; }
const std::string& Config::origin_text(std::string_view key) const {
  return find(key).origin_text;
}

namespace {
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
    }
    out += c;
  }
  return out + "\"";
}
}  // namespace

std::string Config::toml_value(std::string_view name) const {
  const ConfigKey* key = find_key(name);
  CHECK(key != nullptr);
  switch (key->kind) {
    case ValueKind::toggle:
      return toggle(name) ? "true" : "false";
    case ValueKind::count:
      return text(name);
    case ValueKind::list: {
      std::string out;
      for (const std::string& one : list(name)) {
        out += out.empty() ? quoted(one) : ", " + quoted(one);
      }
      return "[" + out + "]";
    }
    case ValueKind::text:
    case ValueKind::size:
    case ValueKind::duration:
      return quoted(text(name));
  }
  return "";
}

}  // namespace pangu::app
