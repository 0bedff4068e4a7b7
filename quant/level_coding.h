#pragma once
// A list of equally wide numbers as bytes and back: bit-packed as it is, or with a leading byte that says
// which of two ways is the shorter one, bit-packed or through zstd's entropy coder. Used for the levels of
// one width and for the table of widths. No ATen here: the reader is fuzzed by itself.

#include <cstdint>
#include <span>
#include <vector>

#include "quant/packed_tensor.h"

namespace diffq {

/// Coded bytes that so many symbols have at least: fewer are padded when written, and refused when read, so
/// that a small file can't ask for much memory.
int64_t least_bytes(int64_t symbols);

/// Appends `numbers`, each below 2^width, to `out`.
void append_numbers(Coding coding, int width, std::span<const uint16_t> numbers, std::vector<uint8_t>& out);

/// A list found in `bytes`, still coded. For Coding::bits `packed` points into the file.
class NumberList {
 public:
  /// Takes the list of `count` numbers of `width` bits that `bytes` begins with off them. Throws DamagedFile
  /// when it can't be one; memory is taken only in proportion to the bytes that are there.
  NumberList(Coding coding, int width, int64_t count, std::span<const uint8_t>& bytes);

  /// Numbers [first, first + count); first is a multiple of 8. Thread-safe.
  void read(int64_t first, int64_t count, uint16_t* numbers) const;

 private:
  int width_;
  std::span<const uint8_t> packed_;  ///< all numbers, or the lower bits of wide ones
  std::vector<uint8_t> symbols_;     ///< what zstd gave, when it was used
  bool entropy_coded_ = false;
};

}  // namespace diffq
