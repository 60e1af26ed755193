#pragma once
#include <span>
#include <string>
#include <string_view>

// "Did you mean": the known word that a person most likely wanted to write.
namespace pangu::app {

// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
size_t edit_distance(std::string_view a, std::string_view b);
// The nearest of `known`, or "" if none is near enough to be a likely slip.
std::string_view nearest(std::string_view word, std::span<const std::string_view> known);
// "; hint: did you mean X?" or "".
std::string did_you_mean(std::string_view word, std::span<const std::string_view> known);

}  // namespace pangu::app
