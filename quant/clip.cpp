#include "quant/clip.h"

#include <algorithm>

#include "quant/clip_formula.h"
#include "quant/ordered_sum.h"

namespace diffq {

Extremes least_error_ends(const float* weights, int64_t n, double mean_square_scale, Extremes all) {
  if (!(all.range() > 0)) return all;
  const ClipSample sample(n);
  const auto sum = [&](const auto& term) {
    return ordered_sum(sample.count, [&](int64_t i) { return term(weights[i * sample.stride]); });
  };
  const double rounding = mean_square_scale * static_cast<double>(sample.count) / 12;
  const double mean = sum([](float w) { return double{w}; }) / static_cast<double>(sample.count);
  double low = mean, high = mean;
  for (int step = 0; step < kClipSteps; ++step) {
    const auto low_end = static_cast<float>(low), high_end = static_cast<float>(high);
    const double below = sum([=](float w) { return w < low_end ? 1.0 : 0.0; });
    const double above = sum([=](float w) { return w > high_end ? 1.0 : 0.0; });
    if (below + above == 0) break;
    const double sum_below = sum([=](float w) { return w < low_end ? double{w} : 0.0; });
    const double sum_above = sum([=](float w) { return w > high_end ? double{w} : 0.0; });
    solve_clip(rounding, {below, above, sum_below, sum_above}, low, high);
  }
  const Extremes ends{std::max(all.min, static_cast<float>(low)),
                      std::min(all.max, static_cast<float>(high))};
  return ends.range() > 0 ? ends : all;
}

}  // namespace diffq
