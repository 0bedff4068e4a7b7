#pragma once
// The pseudo quantization noise: a counter-based generator (Philox4x32-10), so that any entry's noise can be
// drawn again at any time, in any order, on any processor, with the same bits. docs/noise.md has the
// formulas' error and moments.
//
// Entry i of a tensor belongs to block i / 128. A block is 16 counters (16 (i / 128) + i % 16, tensor, step,
// high bits) of four 32-bit words each; entry i takes word (i / 32) % 4 of its counter, and half (i / 16) % 2
// of that word.

#include <cstdint>

#include "quant/method_spec.h"
#include "quant/philox.h"

namespace diffq {

inline constexpr int64_t kNoiseBlock = 128;

/// Where the noise of one tensor in one step comes from.
struct NoiseSource {
  NoiseKind kind = NoiseKind::gaussian;
  uint64_t seed = 0;
  uint32_t step = 0;
  uint32_t tensor = 0;
  const float* given =
      nullptr;  ///< when set: entry i's noise is given[i] (reference vectors), nothing is drawn
};

/// The specification: noise of entry i, one at a time. The kernels (quant/kernels.h) give the same bits.
float noise_at(const NoiseSource& source, int64_t i);

/// U(-1/2, 1/2) from the lower or upper half of a word: odd multiples of 2^-17, symmetric, never 0.
float uniform_noise(uint32_t word, bool second);
/// N(0, 1) / 2 by Box-Muller, two from a word: radius from its upper 21 bits, angle from its lower 12.
float gaussian_noise(uint32_t word, bool second);

// Constants of the formulas, shared with the kernels.
/// Bits of the float just below sqrt(1/2): a number is split into 2^e m with m in [sqrt(1/2), sqrt(2)).
DIFFQ_CONSTANT int32_t kSqrtHalfBits = 0x3f3504f3;
/// ln(1 + t) = t + t² P(t), ascending powers.
DIFFQ_CONSTANT float kLog[6] = {-.5000112653f, .3332030475f,  -.2490546107f,
                                .2041070163f,  -.1871280372f, .1227421090f};
/// sin(π x / 2) = x S(x²) and cos(π x / 2) = C(x²) for |x| < 1/2, ascending powers.
DIFFQ_CONSTANT float kSine[3] = {1.570788503f, -.6457120180f, .07766740769f};
DIFFQ_CONSTANT float kCosine[4] = {1.0f, -1.233698010f, .2536063492f, -.02042625099f};
DIFFQ_CONSTANT float kHalfLn2 = .34657359f;

}  // namespace diffq
