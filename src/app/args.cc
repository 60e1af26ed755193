#include "app/args.h"

#include <fmt/format.h>

#include "app/nearest.h"
#include "base/units.h"

namespace pangu::app {

namespace {
Error wrong(std::string text) { return Error(Code::kInvalidArgument, std::move(text)); }

const Flag* find_flag(std::span<const Flag> flags, std::string_view name) {
  for (const Flag& flag : flags) {
    if (flag.name == name) {
      return &flag;
    }
  }
  return nullptr;
}

Error unknown_flag(const Syntax& syntax, std::string_view name) {
  std::vector<std::string> names;
  for (const Flag& flag : syntax.flags) {
    if (!flag.hidden) {
      names.push_back(fmt::format("--{}", flag.name));
    }
  }
  const std::vector<std::string_view> views(names.begin(), names.end());
  const std::string written = fmt::format("--{}", name);
  return wrong(fmt::format("unknown flag {}{}", written, did_you_mean(written, views)));
}
}  // namespace

Result<Args> Args::parse(const Syntax& syntax, std::span<const std::string> words) {
  Args args;
  args.flags_ = syntax.flags;
  bool flags_end = false;
  for (size_t at = 0; at < words.size(); ++at) {
    if (!flags_end && words[at] == "--") {
      flags_end = true;
    } else if (flags_end) {
      args.arguments_.push_back(words[at]);
    } else {
      TRY_VOID(args.take_word(syntax, words, at));
    }
  }
  if (args.given("help")) {
    return args;
  }
  if (args.arguments_.size() > syntax.arguments_max) {
    return wrong(fmt::format("unexpected argument '{}'", args.arguments_[syntax.arguments_max]));
  }
  if (args.arguments_.size() < syntax.arguments_min) {
    return wrong(fmt::format("missing argument: it takes {}", syntax.arguments));
  }
  return args;
}

Status Args::take_word(const Syntax& syntax, std::span<const std::string> words, size_t& at) {
  const std::string& word = words[at];
  if (word.size() < 2 || word[0] != '-') {  // "-" alone is an argument: standard input or output
    arguments_.push_back(word);
    return {};
  }
  return word[1] == '-' ? take_long(syntax, words, at) : take_letters(syntax, words, at);
}

Status Args::take_long(const Syntax& syntax, std::span<const std::string> words, size_t& at) {
  const std::string_view word = std::string_view(words[at]).substr(2);
  const size_t equals = word.find('=');
  const std::string_view name = word.substr(0, equals);
  const Flag* flag = find_flag(syntax.flags, name);
  if (flag == nullptr) {
    return unknown_flag(syntax, name);
  }
  if (flag->kind == ValueKind::toggle) {
    if (equals != word.npos) {
      return wrong(fmt::format("--{} takes no value", name));
    }
    return take_value(*flag, "true");
  }
  if (equals != word.npos) {
    return take_value(*flag, word.substr(equals + 1));
  }
  if (at + 1 >= words.size()) {
    return wrong(fmt::format("--{} needs a value: --{} {}", name, name, flag->value_name));
  }
  return take_value(*flag, words[++at]);
}

Status Args::take_letters(const Syntax& syntax, std::span<const std::string> words, size_t& at) {
  const std::string& word = words[at];
  for (size_t i = 1; i < word.size(); ++i) {
    const auto flag = std::find_if(syntax.flags.begin(), syntax.flags.end(),
                                   [&](const Flag& f) { return f.letter == word[i]; });
    if (flag == syntax.flags.end()) {
      return wrong(fmt::format("unknown flag -{}", word[i]));
    }
    if (flag->kind == ValueKind::toggle) {
      TRY_VOID(take_value(*flag, "true"));
      continue;
    }
    if (i + 1 < word.size()) {
      return take_value(*flag, std::string_view(word).substr(i + 1));
    }
    if (at + 1 >= words.size()) {
      return wrong(fmt::format("-{} needs a value: -{} {}", word[i], word[i], flag->value_name));
    }
    return take_value(*flag, words[++at]);
  }
  return {};
}

Status Args::take_value(const Flag& flag, std::string_view value) {
  if (Status status = check_value(flag.kind, flag.choices, value); !status.ok()) {
    return std::move(status).error().within(fmt::format("--{}", flag.name));
  }
  std::vector<std::string>& values = given_[std::string(flag.name)];
  if (!flag.repeated && flag.kind != ValueKind::toggle && !values.empty()) {
    return wrong(fmt::format("--{} was given twice", flag.name));
  }
  values.emplace_back(value);
  return {};
}

std::string Args::text(std::string_view name) const {
  const auto found = given_.find(name);
  if (found != given_.end()) {
    return found->second.back();
  }
  const Flag* flag = find_flag(flags_, name);
  CHECK_NOTE(flag != nullptr, name);
  return std::string(flag->fallback);
}
u64 Args::count(std::string_view name) const { return *parse_count(text(name)); }
u64 Args::size(std::string_view name) const { return *parse_size(text(name)); }
Duration Args::duration(std::string_view name) const { return *parse_duration(text(name)); }

std::vector<std::string> Args::all(std::string_view name) const {
  const auto found = given_.find(name);
  return found == given_.end() ? std::vector<std::string>() : found->second;
}

std::map<std::string, std::string> Args::config_overrides() const {
  std::map<std::string, std::string> out;
  for (const Flag& flag : flags_) {
    const auto found = given_.find(flag.name);
    if (!flag.config.empty() && found != given_.end()) {
      std::string& value = out[std::string(flag.config)];
      for (const std::string& one : found->second) {
        value += value.empty() ? one : kListSeparator + one;
      }
    }
  }
  return out;
}

}  // namespace pangu::app
