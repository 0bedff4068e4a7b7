#pragma once
// One step towards the ends of least expected error (clip.h), for the processor and for GPUs.

#include <cstdint>

#include "quant/device_code.h"

namespace diffq {

/// About as many weights as decide.
inline constexpr int64_t kClipSample = 1 << 16;
/// Each step of Newton's method settles which weights are clipped for the next; few are needed.
inline constexpr int kClipSteps = 10;

/// Which weights decide: every stride-th of n.
struct ClipSample {
  int64_t stride, count;
  DIFFQ_BOTH explicit ClipSample(int64_t n)
      : stride(n < 2 * kClipSample ? 1 : n / kClipSample), count((n + stride - 1) / stride) {}
};

/// Of the weights beyond the ends.
struct ClipSums {
  double below, above, sum_below, sum_above;
};

/// The ends where rounding · (high − low) = sum_above − above · high = below · low − sum_below. `rounding`:
/// what (high − low)² is multiplied by in the error of rounding.
DIFFQ_BOTH inline void solve_clip(double rounding, const ClipSums& sums, double& low, double& high) {
  const double a = rounding + sums.above, b = rounding + sums.below,
               determinant = a * b - rounding * rounding;
  const double part = 1 / determinant;
  high = (b * sums.sum_above + rounding * sums.sum_below) * part;
  low = (a * sums.sum_below + rounding * sums.sum_above) * part;
}

}  // namespace diffq
