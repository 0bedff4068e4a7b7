#pragma once

namespace diffq {

/// Smallest and largest entry.
struct Extremes {
  float min = 0;
  float max = 0;
  float range() const { return max - min; }
};

}  // namespace diffq
