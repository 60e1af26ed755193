#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/check.h"
#include "base/error_table.h"
#include "base/types.h"

// Result<T>: the one error channel of the project. Nothing in src/ throws.
namespace pangu {

enum class Code : u16 {
#define X(name, number, retry, text) name = number,
  PANGU_ERROR_TABLE(X)
#undef X
};

// What a caller may do about an error (base/error_table.h explains each).
enum class Retry : u8 { never, same, other_replica, refresh_route, unknown_outcome };

Retry retry_class(Code code);
std::string_view code_text(Code code);  // for people: "chunk is sealed"
std::string_view code_name(Code code);  // for scripts and logs: "SEALED"
// The code with this number, or kInternal for a number that this version does not know.
Code code_from_number(u16 number);

// A code and, for people, what happened to which object and what to do about it.
class [[nodiscard]] Error {
 public:
  Error(Code code) : code_(code) { CHECK(code != Code::kOk); }  // NOLINT: implicit by design
  Error(Code code, std::string context);

  Code code() const { return code_; }
  Retry retry() const { return retry_class(code_); }
  std::string_view context() const { return context_ ? std::string_view(*context_) : ""; }
  // "chunk is sealed: chunk 00…: length 4096 was decided"
  std::string message() const;
  // The same error seen from further out: "reading /a/b: " in front of the context.
  Error within(std::string_view where) &&;

  Error(Error&&) noexcept = default;
  Error& operator=(Error&&) noexcept = default;
  Error(const Error& other)
      : code_(other.code_),
        context_(other.context_ ? std::make_unique<std::string>(*other.context_) : nullptr) {}
  Error& operator=(const Error& other) { return *this = Error(other); }

 private:
  Code code_;
  std::unique_ptr<std::string> context_;  // null on the data path: no allocation for a bare code
};

struct Unit {};

template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT
  Result(Code code) : state_(std::in_place_index<1>, Error(code)) {}         // NOLINT

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  Code code() const { return ok() ? Code::kOk : std::get_if<1>(&state_)->code(); }

  // REQUIRES: ok()
  T& value() & {
    CHECK_NOTE(ok(), ok() ? std::string_view() : code_text(code()));
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    CHECK_NOTE(ok(), ok() ? std::string_view() : code_text(code()));
    return *std::get_if<0>(&state_);
  }
  T&& value() && { return std::move(value()); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(value()); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  // REQUIRES: !ok()
  Error& error() & {
    CHECK(!ok());
    return *std::get_if<1>(&state_);
  }
  const Error& error() const& {
    CHECK(!ok());
    return *std::get_if<1>(&state_);
  }
  Error&& error() && { return std::move(error()); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() = default;
  Result(Unit) {}                                    // NOLINT
  Result(Error error) : error_(std::move(error)) {}  // NOLINT
  Result(Code code) {                                // NOLINT
    if (code != Code::kOk) {
      error_.emplace(code);
    }
  }
  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  Code code() const { return error_ ? error_->code() : Code::kOk; }
  Error& error() & {
    CHECK(!ok());
    return *error_;
  }
  const Error& error() const& {
    CHECK(!ok());
    return *error_;
  }
  Error&& error() && { return std::move(error()); }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;
inline Status ok_status() {
  return {};
}

}  // namespace pangu

// TRY(name, expression): name = the value, or return the error. Plain statements, no GNU extension.
#define PANGU_CONCAT2(a, b) a##b
#define PANGU_CONCAT(a, b) PANGU_CONCAT2(a, b)
#define TRY_IMPL(temp, name, expression, ret) \
  auto temp = (expression);                   \
  if (!temp.ok()) [[unlikely]]                \
    ret std::move(temp).error();              \
  auto& name = *temp
#define TRY(name, expression) TRY_IMPL(PANGU_CONCAT(try_, __LINE__), name, expression, return)
#define CO_TRY(name, expression) TRY_IMPL(PANGU_CONCAT(try_, __LINE__), name, expression, co_return)
// For a Status, or a Result whose value is not needed.
#define TRY_VOID_IMPL(temp, expression, ret)                 \
  do {                                                       \
    if (auto temp = (expression); !temp.ok()) [[unlikely]] { \
      ret std::move(temp).error();                           \
    }                                                        \
  } while (0)
#define TRY_VOID(expression) TRY_VOID_IMPL(PANGU_CONCAT(try_, __LINE__), expression, return)
#define CO_TRY_VOID(expression) TRY_VOID_IMPL(PANGU_CONCAT(try_, __LINE__), expression, co_return)
