#pragma once
// UTF-8 by characters.

#include <cstddef>
#include <optional>
#include <string_view>

namespace diffq {

/// Bytes of the character that `text` begins with, 1 to 4; 0 where that is no UTF-8 (RFC 3629: no overlong
/// forms, no surrogates, nothing beyond U+10FFFF). `text` must not be empty.
size_t character_bytes(std::string_view text);

/// Place of the first byte that is no UTF-8.
std::optional<size_t> find_invalid_utf8(std::string_view text);

}  // namespace diffq
