#pragma once
// A uniform grid of 2^bits levels over [low, high]: what QAT, PTQ and DiffQ's evaluation round to. All in
// float32 and in this order, since levels that are computed otherwise differ now and then.

#include <math.h>

#include <cstdint>

#include "quant/device_code.h"

namespace diffq {

/// Nearest whole number, half to even, for |x| < 2^22 (NaN stays NaN). Unlike std::nearbyint this vectorises
/// everywhere.
DIFFQ_BOTH inline float round_half_even(float x) {
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: the last place of the sum is 1
  return (x + kShift) - kShift;
}

struct Grid {
  float low = 0;
  float high = 0;
  float top = 1;  ///< the highest level, 2^bits - 1

  DIFFQ_BOTH static float top_of(int bits) { return static_cast<float>((1 << bits) - 1); }
  /// A grid of one point (a constant tensor) holds its weights exactly.
  DIFFQ_BOTH bool is_point() const { return !(high > low); }
  /// Level of a weight as a whole float, not for a point. NaN stays NaN: weights that went wrong should be
  /// seen.
  DIFFQ_BOTH float level(float weight) const {
    const float above = weight < low ? low : weight;
    const float inside = above > high ? high : above;
    return round_half_even((inside - low) / (high - low) * top);
  }
  DIFFQ_BOTH float restore(float level) const { return level / top * (high - low) + low; }
  DIFFQ_BOTH float round(float weight) const { return restore(level(weight)); }
};

/// LSQ's levels: whole numbers from lowest to highest, in units of a learned scale; u is a weight in them.
struct ScaleLevels {
  float lowest = -1;  ///< -2^(bits-1)
  float highest = 0;  ///< 2^(bits-1) - 1

  static ScaleLevels of_bits(int bits) {
    if (bits < 1) return {};
    const auto half = static_cast<float>(1 << (bits - 1));
    return {-half, half - 1};
  }
  /// NaN stays NaN.
  DIFFQ_BOTH float clamped(float u) const {
    const float above = u < lowest ? lowest : u;
    return above > highest ? highest : above;
  }
  /// 1 where the weight is not clipped, else 0.
  DIFFQ_BOTH float inside(float u) const { return static_cast<float>((u >= lowest) & (u <= highest)); }
  /// ∂w̃/∂scale: round(u) - u inside, outside the level of the clip's edge, where the weight has no say.
  DIFFQ_BOTH float scale_slope(float u) const {
    const float level = clamped(u);
    return round_half_even(level) - inside(u) * level;
  }
  /// Keeps the scale's steps in proportion to the weights' (section 2.2 of arXiv:1902.08153).
  DIFFQ_BOTH double gradient_part(int64_t weights) const {
    return 1 / ::sqrt(static_cast<double>(weights) * static_cast<double>(highest));
  }
};

/// A level as stored; what is not a number gets level 0.
inline int32_t whole_level(float level) { return level == level ? static_cast<int32_t>(level) : 0; }

}  // namespace diffq
