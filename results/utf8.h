#pragma once
// UTF-8 in tables: what a program writes into files that promise UTF-8, and how wide text is on a terminal.

#include <string>
#include <string_view>

namespace diffq {

/// The text with each byte that belongs to no well-formed UTF-8 sequence replaced by U+FFFD (file names and
/// messages of libraries may hold any bytes).
std::string valid_utf8(std::string_view text);

/// Columns on a terminal, counted as code points: right for Latin, Greek and signs, not for wide or combining
/// ones.
size_t display_width(std::string_view text);

}  // namespace diffq
