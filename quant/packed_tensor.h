#pragma once
// One quantised tensor as bytes: what is left of it in a packed model file. docs/packed_format.md has the
// layout. The levels stand sorted by their width, so that each width is one plain string of numbers whatever
// the group size; that makes packing fast, the format short to describe, and the levels of a width good to
// compress. No ATen here: the reader is fuzzed by itself.

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "quant/extremes.h"

namespace diffq {

/// What a level stands for: a point between the smallest and largest weight (ptq, qat, diffq), or a multiple
/// of a scale (lsq).
enum class LevelGrid { range, scale };

/// How levels and widths are written: bit-packed, or entropy coded by zstd where that is shorter.
enum class Coding { bits, zstd };

/// The longest groups that may vanish, with 0 bits and weights of 0.
inline constexpr int64_t kLongestVanishingGroup = 256;

/// All that is known of a packed tensor from outside its bytes.
struct TensorLayout {
  int64_t numel = 0;
  int64_t group_size = 1;  ///< entries a group, at least 1; the last group may be shorter
  LevelGrid grid = LevelGrid::range;
  int64_t channels = 1;  ///< parts of equal length, each with its own ends of the levels; divides numel

  int64_t groups() const { return numel / group_size + (numel % group_size != 0); }
};

/// A tensor about to be packed. Borrowed memory.
struct TensorToPack {
  TensorLayout layout;
  const float* weights = nullptr;  ///< [numel]
  std::span<const uint8_t> bits;   ///< [groups] 0 to 15, 0 in groups of at most kLongestVanishingGroup
  /// [channels] grid range: the levels' ends, float16 numbers if there are several; grid scale: `min` is the
  /// scale.
  std::span<const Extremes> ends;
};

/// Bytes that can't be what pack_tensor wrote; says what is wrong with them.
struct DamagedFile : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

std::vector<uint8_t> pack_tensor(const TensorToPack& tensor, Coding coding);
/// Throws DamagedFile when so few bytes can't hold the tensor: to be asked before memory is taken for it.
void check_size(const TensorLayout& layout, Coding coding, std::span<const uint8_t> bytes);
/// Whether the bytes tell of groups without bits.
bool has_vanished_groups(const TensorLayout& layout, std::span<const uint8_t> bytes);
/// The weights that the tensor was evaluated with, bit for bit. Throws DamagedFile.
void unpack_tensor(const TensorLayout& layout, Coding coding, std::span<const uint8_t> bytes, float* weights);
/// The numbers that stand for the weights, [numel]: of grid scale the level plus 2^(bits - 1). Throws
/// DamagedFile.
void unpack_levels(const TensorLayout& layout, Coding coding, std::span<const uint8_t> bytes,
                   uint16_t* levels);
/// Bits of every group, without unpacking the levels. Throws DamagedFile.
std::vector<uint8_t> unpack_bits_table(const TensorLayout& layout, Coding coding,
                                       std::span<const uint8_t> bytes);
/// The same tensor in another coding. Throws DamagedFile.
std::vector<uint8_t> recode_tensor(const TensorLayout& layout, Coding from, std::span<const uint8_t> bytes,
                                   Coding to);

}  // namespace diffq
