#include "quant/clip.h"

#include <algorithm>

#include "quant/ordered_sum.h"

namespace diffq {
namespace {

/// About as many weights as decide.
constexpr int64_t kSample = 1 << 16;
/// Each step of Newton's method settles which weights are clipped for the next; few are needed.
constexpr int kSteps = 10;

}  // namespace

Extremes least_error_ends(const float* weights, int64_t n, double mean_square_scale, Extremes all) {
  if (!(all.range() > 0)) return all;
  const int64_t stride = std::max<int64_t>(1, n / kSample), count = (n + stride - 1) / stride;
  const auto sum = [&](const auto& term) {
    return ordered_sum(count, [&](int64_t i) { return term(weights[i * stride]); });
  };
  const double rounding = mean_square_scale * static_cast<double>(count) / 12;
  const double mean = sum([](float w) { return double{w}; }) / static_cast<double>(count);
  double low = mean, high = mean;
  for (int step = 0; step < kSteps; ++step) {
    const auto low_end = static_cast<float>(low), high_end = static_cast<float>(high);
    const double below = sum([=](float w) { return w < low_end ? 1.0 : 0.0; });
    const double above = sum([=](float w) { return w > high_end ? 1.0 : 0.0; });
    if (below + above == 0) break;
    const double sum_below = sum([=](float w) { return w < low_end ? double{w} : 0.0; });
    const double sum_above = sum([=](float w) { return w > high_end ? double{w} : 0.0; });
    // rounding · (high − low) = sum_above − above · high = below · low − sum_below
    const double a = rounding + above, b = rounding + below, determinant = a * b - rounding * rounding;
    high = (b * sum_above + rounding * sum_below) / determinant;
    low = (a * sum_below + rounding * sum_above) / determinant;
  }
  const Extremes ends{std::max(all.min, static_cast<float>(low)),
                      std::min(all.max, static_cast<float>(high))};
  return ends.range() > 0 ? ends : all;
}

}  // namespace diffq
