#pragma once
// Whole numbers of 1 to 15 bits, one after the other without gaps: number i takes bits [i w, (i + 1) w) of a
// string of bytes, whose bit j is bit j % 8 of byte j / 8. Eight numbers of any width are a whole number of
// bytes. No ATen here: the reader of packed files is fuzzed by itself.

#include <cstdint>

namespace diffq {

inline constexpr int kMostPackedBits = 15;

/// Bytes of `count` numbers of `width` bits; the last byte is filled with zeros.
constexpr int64_t packed_bytes(int64_t count, int width) {
  return count / 8 * width + (count % 8 * width + 7) / 8;
}

/// Writes packed_bytes(count, width) bytes. Every number must be below 2^width; width is 1 to 15.
void pack_bits(int width, const uint16_t* numbers, int64_t count, uint8_t* bytes);
/// Reads packed_bytes(count, width) bytes and no more.
void unpack_bits(int width, const uint8_t* bytes, int64_t count, uint16_t* numbers);

}  // namespace diffq
