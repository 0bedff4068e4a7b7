#pragma once
// The four bytes of a pixel as a vector of floats.

#include <cstdint>
#include <cstring>

namespace diffq {

using PixelBytes = uint8_t __attribute__((vector_size(4)));
using PixelLanes = float __attribute__((vector_size(16)));

inline PixelLanes load_pixel(const uint8_t* pixel) {
  PixelBytes bytes;
  std::memcpy(&bytes, pixel, sizeof bytes);
  return __builtin_convertvector(bytes, PixelLanes);
}

/// Cut to 0 … 255, then rounded down.
inline void store_pixel(PixelLanes lanes, uint8_t* pixel) {
  constexpr PixelLanes kLeast{}, kMost{255, 255, 255, 255};
  lanes = lanes > kLeast ? lanes : kLeast;
  lanes = lanes < kMost ? lanes : kMost;
  const PixelBytes bytes = __builtin_convertvector(lanes, PixelBytes);
  std::memcpy(pixel, &bytes, sizeof bytes);
}

}  // namespace diffq
