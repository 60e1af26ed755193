#include "base/result.h"

namespace pangu {

Retry retry_class(Code code) {
  switch (code) {
#define X(name, number, retry, text) \
  case Code::name:                   \
    return Retry::retry;
    PANGU_ERROR_TABLE(X)
#undef X
  }
  return Retry::never;
}

std::string_view code_text(Code code) {
  switch (code) {
#define X(name, number, retry, text) \
  case Code::name:                   \
    return text;
    PANGU_ERROR_TABLE(X)
#undef X
  }
  return "unknown error";
}

namespace {
// kNotFound -> NOT_FOUND
std::string shouting_name(std::string_view identifier) {
  std::string out;
  for (const char c : identifier.substr(1)) {
    if (c >= 'A' && c <= 'Z' && !out.empty()) {
      out += '_';
    }
    out += static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  }
  return out;
}
}  // namespace

std::string_view code_name(Code code) {
  static const std::map<Code, std::string> names = {
#define X(name, number, retry, text) {Code::name, shouting_name(#name)},
      PANGU_ERROR_TABLE(X)
#undef X
  };
  const auto found = names.find(code);
  return found == names.end() ? std::string_view("UNKNOWN") : std::string_view(found->second);
}

Code code_from_number(u16 number) {
  switch (number) {
#define X(name, value, retry, text) \
  case value:                       \
    return Code::name;
    PANGU_ERROR_TABLE(X)
#undef X
    default:
      return Code::kInternal;
  }
}

Error::Error(Code code, std::string context)
    : code_(code), context_(std::make_unique<std::string>(std::move(context))) {
  CHECK(code != Code::kOk);
}

std::string Error::message() const {
  std::string out(code_text(code_));
  if (context_) {
    out += ": ";
    out += *context_;
  }
  return out;
}

Error Error::within(std::string_view where) && {
  std::string context(where);
  if (context_) {
    context += ": ";
    context += *context_;
  }
  return Error(code_, std::move(context));
}

}  // namespace pangu
