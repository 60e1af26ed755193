#pragma once
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "app/value.h"

// The words after a command's name, read by the command's own table of flags. Written here because
// a table gives exact messages ("did you mean --size?") and the usual header-only parsers cost
// seconds of compile time in every command.
namespace pangu::app {

struct Flag {
  std::string_view name;  // without the dashes
  ValueKind kind = ValueKind::toggle;
  std::string_view value_name = {};  // what help calls the value: PATH
  std::string_view help = {};
  std::string_view fallback = {};    // the value when absent
  std::string_view choices = {};     // "append|read": nothing else is accepted
  std::string_view config = {};      // the configuration key that this flag overrides
  char letter = 0;                   // -r
  bool repeated = false;
  bool hidden = false;
};

struct Syntax {
  std::vector<Flag> flags;
  std::string_view arguments;  // "SOURCE... PATH", for messages
  size_t arguments_min = 0;
  size_t arguments_max = 0;
};

// Values are checked when they are parsed, so the getters cannot fail.
class Args {
 public:
  // Flags and arguments in any order; "--" ends the flags. InvalidArgument names the wrong word.
  static Result<Args> parse(const Syntax& syntax, std::span<const std::string> words);

  // Whether the flag stands on the command line.
  bool given(std::string_view name) const { return given_.contains(name); }
  bool toggle(std::string_view name) const { return given(name); }
  // REQUIRES: the flag is in the table with this kind, and was given or has a fallback.
  std::string text(std::string_view name) const;
  u64 count(std::string_view name) const;
  u64 size(std::string_view name) const;
  Duration duration(std::string_view name) const;
  // Every value of a repeated flag.
  std::vector<std::string> all(std::string_view name) const;

  const std::vector<std::string>& arguments() const { return arguments_; }
  // The flags given that override configuration keys: {key, value}.
  std::map<std::string, std::string> config_overrides() const;

 private:
  Status take_word(const Syntax& syntax, std::span<const std::string> words, size_t& at);
  Status take_long(const Syntax& syntax, std::span<const std::string> words, size_t& at);
  Status take_letters(const Syntax& syntax, std::span<const std::string> words, size_t& at);
  Status take_value(const Flag& flag, std::string_view value);

  std::vector<Flag> flags_;
  std::map<std::string, std::vector<std::string>, std::less<>> given_;
  std::vector<std::string> arguments_;
};

}  // namespace pangu::app
