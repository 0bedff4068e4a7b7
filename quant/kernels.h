#pragma once
// The loops over all weights, compiled once for each kind of processor from one text (kernel_template.h) and
// chosen at run time. All paths give the same bits: they use only +, -, *, /, fma and sqrt, in the same
// order.

#include <cstdint>

#include "quant/noise.h"

namespace diffq {

/// Bits in one MB (2^20 bytes).
inline constexpr double kBitsPerMb = 8.0 * 1024 * 1024;

enum class CodePath { plain, avx2, avx512 };

/// What a logit stands for; see Parametrisation. The constants are set by make_group_map.
struct GroupMap {
  Parametrisation parametrisation = Parametrisation::bits;
  float min_bits = 2;
  float max_bits = 15;
  float log_scale_at_min = 0;  ///< ln(1 / (2^min_bits - 1))
  float log_scale_at_max = 0;
};
GroupMap make_group_map(Parametrisation parametrisation, double min_bits, double max_bits);

/// What the noise that kernels draw, N(0,1)/2 or U(-1/2, 1/2), is multiplied by.
inline float noise_factor(NoiseKind kind) {
  return kind == NoiseKind::matched ? 0.57735027f : 1;  // 2 / sqrt(12)
}

/// Largest read or write past the `groups` asked for, in the arrays of one value a group below.
inline constexpr int64_t kGroupPadding = kNoiseBlock + 16;

/// Group sizes that divide a block of noise are handled by add_noise and group_dots.
inline bool has_fast_path(int64_t group_size) {
  return group_size <= kNoiseBlock && kNoiseBlock % group_size == 0;
}

struct KernelTable {
  /// Smallest and largest of n >= 1 entries (NaNs are passed over).
  void (*extremes)(const float* entries, int64_t n, float* min, float* max);
  /// Noise of entries [kNoiseBlock * first_block, … + n); writes up to the end of the last block.
  void (*draw)(const NoiseSource& source, int64_t first_block, int64_t n, float* noise);
  /// Of every group: scale = 1 / (2^b - 1), and slope = ∂scale / ∂logit where `slopes` is not null.
  void (*group_scales)(const GroupMap& map, const float* logits, int64_t groups, float* scales,
                       float* slopes);
  /// gradients[group] += weight * ∂b / ∂logit.
  void (*add_bits_slopes)(const GroupMap& map, const float* logits, int64_t groups, float weight,
                          float* gradients);
  /// compute = master + step[group] * noise for entries [first, first + n), first a multiple of kNoiseBlock;
  /// the three arrays begin at entry `first` and its group.
  void (*add_noise)(const NoiseSource& source, int64_t group_size, int64_t first, int64_t n,
                    const float* steps, const float* master, float* compute);
  /// dots[group] = Σ gradient * noise over the group's entries, summed as a perfect binary tree over the
  /// group.
  void (*group_dots)(const NoiseSource& source, int64_t group_size, int64_t first, int64_t n,
                     const float* gradient, float* dots);
};

/// Whether this processor (and this build) has the path; plain always is there.
bool has_code_path(CodePath path);
/// The widest path of this processor.
CodePath best_code_path();
/// Throws std::invalid_argument where has_code_path(path) is false.
const KernelTable& kernels(CodePath path);

}  // namespace diffq
