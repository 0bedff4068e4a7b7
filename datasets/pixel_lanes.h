#pragma once
// Rows of pixels as floats, so that a pixel is one vector of four.

#include <cstdint>
#include <cstring>

namespace diffq {

using PixelLanes = float __attribute__((vector_size(16)));

inline PixelLanes load_pixel(const float* pixel) {
  PixelLanes lanes;
  std::memcpy(&lanes, pixel, sizeof lanes);
  return lanes;
}

inline void store_pixel(const PixelLanes& lanes, float* pixel) { std::memcpy(pixel, &lanes, sizeof lanes); }

/// `count` values.
inline void to_floats(const uint8_t* bytes, int64_t count, float* values) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(bytes[i]);
}

/// Cut to 0 … 255, then rounded down.
inline void to_bytes(const float* values, int64_t count, uint8_t* bytes) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    const float least = values[i] > 0 ? values[i] : 0;
    bytes[i] = static_cast<uint8_t>(static_cast<int>(least < 255 ? least : 255));
  }
}

}  // namespace diffq
