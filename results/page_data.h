#pragma once
// What the charts of the page draw, as JSON: all numbers are computed here and in analysis.h, the page's
// script only draws them. Large sweeps are thinned to what a page can hold: fewer epochs of each curve, fewer
// settings in the pictures of bits; never fewer runs.

#include <nlohmann/json.hpp>

#include "results/report.h"

namespace diffq {

inline constexpr size_t kCurveValues = 800'000;  ///< of all curves together
inline constexpr size_t kLayerValues = 60'000;   ///< layers × settings of a benchmark

/// {"benchmarks": [{title, metric_name, higher_is_better, fp32, settings, runs, fronts, equal_sizes, layers,
/// curves}]}; runs and curves by columns. Not applicable is null.
nlohmann::json page_data(const Report& report);

}  // namespace diffq
