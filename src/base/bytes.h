#pragma once
#include <bit>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "base/types.h"

// Little-endian loads and stores on unaligned bytes, and the two span types all code uses.
namespace pangu {

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

static_assert(std::endian::native == std::endian::little,
              "wire and disk structs are memcpy'd; a big-endian port has to swap here");

template <class T>
T load_le(const void* from) {
  static_assert(std::is_trivially_copyable_v<T>);
  T out;
  std::memcpy(&out, from, sizeof(T));
  return out;
}
template <class T>
void store_le(void* to, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::memcpy(to, &value, sizeof(T));
}
// The bytes of a trivially copyable struct without padding.
template <class T>
  requires std::is_class_v<T> && std::is_trivially_copyable_v<T> &&
           std::has_unique_object_representations_v<T>
Bytes as_bytes_of(const T& value) {
  return {reinterpret_cast<const std::byte*>(&value), sizeof(T)};
}
inline Bytes as_bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace pangu
