#pragma once
// IEEE binary16, as it's stored in files.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace diffq {

inline float half_to_float(uint16_t half) {
  const uint32_t sign = uint32_t{half} >> 15 << 31, exponent = half >> 10 & 31, mantissa = half & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float small = static_cast<float>(mantissa) * 0x1p-24f;
  return sign != 0 ? -small : small;
}

/// The nearest one, ties to even; a number that is too large becomes the largest. Every half comes back from
/// half_to_float as it was.
inline uint16_t float_to_half(float value) {
  constexpr float kLargest = 65504, kSmallestNormal = 0x1p-14f;
  const auto bits = std::bit_cast<uint32_t>(value), sign = bits >> 16 & 0x8000, mantissa = bits & 0x7fffff;
  if ((bits >> 23 & 255) == 255) {
    const uint32_t payload = mantissa == 0 ? 0 : std::max(mantissa >> 13, 1u);
    return static_cast<uint16_t>(sign | 0x7c00 | payload);
  }
  const float size = std::min(std::fabs(value), kLargest);
  if (size < kSmallestNormal)
    return static_cast<uint16_t>(sign | static_cast<uint32_t>(std::nearbyint(size * 0x1p24f)));
  const auto wide = std::bit_cast<uint32_t>(size), rounded = wide + 0xfff + (wide >> 13 & 1);
  return static_cast<uint16_t>(sign | ((rounded >> 13) - (112u << 10)));
}

/// The largest one that is not above a number, as far as there is one.
inline float half_below(float value) {
  const uint16_t half = float_to_half(value);
  if (!(half_to_float(half) > value)) return half_to_float(half);
  return half_to_float(static_cast<uint16_t>(half & 0x8000 ? half + 1 : half - 1));
}

}  // namespace diffq
