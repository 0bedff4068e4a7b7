#pragma once
// A uniform grid of 2^bits levels over [low, high]: what QAT, PTQ and DiffQ's evaluation round to. All in
// float32 and in this order, since levels that are computed otherwise differ now and then.

#include <cstdint>

namespace diffq {

/// Nearest whole number, half to even, for |x| < 2^22 (NaN stays NaN). Unlike std::nearbyint this vectorises
/// everywhere.
inline float round_half_even(float x) {
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: the last place of the sum is 1
  return (x + kShift) - kShift;
}

struct Grid {
  float low = 0;
  float high = 0;
  float top = 1;  ///< the highest level, 2^bits - 1

  static float top_of(int bits) { return static_cast<float>((1 << bits) - 1); }
  /// A grid of one point (a constant tensor) holds its weights exactly.
  bool is_point() const { return !(high > low); }
  /// Level of a weight as a whole float, not for a point. NaN stays NaN: weights that went wrong should be
  /// seen.
  float level(float weight) const {
    const float above = weight < low ? low : weight;
    const float inside = above > high ? high : above;
    return round_half_even((inside - low) / (high - low) * top);
  }
  float restore(float level) const { return level / top * (high - low) + low; }
  float round(float weight) const { return restore(level(weight)); }
};

/// A level as stored; what is not a number gets level 0.
inline int32_t whole_level(float level) { return level == level ? static_cast<int32_t>(level) : 0; }

}  // namespace diffq
