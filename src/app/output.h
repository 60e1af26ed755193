#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"

// What commands print: aligned tables for people, JSON for programs.
namespace pangu::app {

// Columns as wide as their widest cell, two spaces apart; numbers (see right_) to the right.
class Table {
 public:
  // A title that begins with '>' is of a right-aligned column (without the sign).
  explicit Table(std::vector<std::string> titles);
  void add(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }
  std::string text() const;

 private:
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

// Writes one JSON value from its parts, in order. Numbers are finite by contract.
class JsonWriter {
 public:
  JsonWriter& begin_object();
  JsonWriter& end_object();
  JsonWriter& begin_array();
  JsonWriter& end_array();
  JsonWriter& key(std::string_view name);
  JsonWriter& value(std::string_view text);
  JsonWriter& value(const std::string& text) { return value(std::string_view(text)); }
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(u64 number);
  JsonWriter& value(i64 number);
  JsonWriter& value(u32 number) { return value(u64{number}); }
  JsonWriter& value(i32 number) { return value(i64{number}); }
  JsonWriter& value(double number);
  JsonWriter& value(bool flag);
  template <class T>
  JsonWriter& field(std::string_view name, const T& content) {
    return key(name).value(content);
  }
  // The document and an end of line.
  std::string text() const { return out_ + "\n"; }

 private:
  void separate();
  void add(std::string_view raw);
  std::string out_;
  bool need_comma_ = false;
};

}  // namespace pangu::app
