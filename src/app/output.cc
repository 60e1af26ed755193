#include "app/output.h"

#include <fmt/format.h>

#include "base/check.h"

namespace pangu::app {

namespace {
// Columns on the screen: UTF-8 continuation bytes take none.
size_t width_of(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}
}  // namespace

Table::Table(std::vector<std::string> titles) {
  for (std::string& title : titles) {
    right_.push_back(title.starts_with('>'));
    if (right_.back()) {
      title.erase(0, 1);
    }
  }
  rows_.push_back(std::move(titles));
}

void Table::add(std::vector<std::string> cells) {
  CHECK(cells.size() == right_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::text() const {
  std::vector<size_t> widths(right_.size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], width_of(row[i]));
    }
  }
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - width_of(row[i]), ' ');
      line += i == 0 ? "" : "  ";
      line += right_[i] ? padding + row[i] : row[i] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

void JsonWriter::separate() {
  if (need_comma_) {
    out_ += ",";
  }
  need_comma_ = true;
}
void JsonWriter::add(std::string_view raw) {
  separate();
  out_ += raw;
}

JsonWriter& JsonWriter::begin_object() {
  add("{");
  need_comma_ = false;
  return *this;
}
JsonWriter& JsonWriter::end_object() {
  out_ += "}";
  need_comma_ = true;
  return *this;
}
JsonWriter& JsonWriter::begin_array() {
  add("[");
  need_comma_ = false;
  return *this;
}
JsonWriter& JsonWriter::end_array() {
  out_ += "]";
  need_comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  value(name);
  out_ += ":";
  need_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::value(std::string_view text) {
  separate();
  out_ += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out_ += '\\';
      out_ += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out_ += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out_ += c;
    }
  }
  out_ += '"';
  return *this;
}
JsonWriter& JsonWriter::value(u64 number) {
  add(fmt::format("{}", number));
  return *this;
}
JsonWriter& JsonWriter::value(i64 number) {
  add(fmt::format("{}", number));
  return *this;
}
JsonWriter& JsonWriter::value(double number) {
  add(fmt::format("{:.3f}", number));
  return *this;
}
JsonWriter& JsonWriter::value(bool flag) {
  add(flag ? "true" : "false");
  return *this;
}

}  // namespace pangu::app
