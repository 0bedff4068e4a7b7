#pragma once
// The one thing of EXIF that changes what a picture shows.

#include <cstdint>
#include <span>

namespace diffq {

/// 1 … 8 as EXIF defines it; 0 where the marker (of APP1, without its length) does not say.
int exif_orientation_of(std::span<const uint8_t> marker);

}  // namespace diffq
