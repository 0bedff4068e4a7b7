#include "sweeps/front.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>

namespace diffq {

std::vector<double> front_targets(const FrontSpec& front) {
  std::vector<double> targets;
  for (int64_t i = 0; i < front.points; ++i) {
    const double part = static_cast<double>(i) / static_cast<double>(front.points - 1);
    char text[40];
    std::snprintf(text, sizeof text, "%.6g", front.from_mb * std::pow(front.to_mb / front.from_mb, part));
    targets.push_back(std::strtod(text, nullptr));
  }
  targets.front() = front.from_mb;
  targets.back() = front.to_mb;
  return targets;
}

FrontChoice choose_of_front(std::span<const double> candidates, std::vector<double> taken) {
  std::ranges::sort(taken);
  const auto [smallest, largest] = std::ranges::minmax_element(candidates);
  const double none = std::numeric_limits<double>::infinity();
  const auto index = [&](auto candidate) { return static_cast<size_t>(candidate - candidates.begin()); };
  if (taken.empty() || *largest > taken.back())
    return {index(largest), {taken.empty() ? 0 : taken.back(), none}};
  if (*smallest < taken.front()) return {index(smallest), {0, taken.front()}};
  FrontChoice best;
  double widest = -1, nearest = none;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const auto above = std::ranges::upper_bound(taken, candidates[i]);
    const Gap gap{*std::prev(above), above == taken.end() ? candidates[i] : *above};
    const double width = std::log(gap.high_mb / gap.low_mb);
    const double off = std::fabs(std::log(candidates[i] / std::sqrt(gap.low_mb * gap.high_mb)));
    if (width < widest || (width == widest && off >= nearest)) continue;
    best = {i, gap};
    widest = width;
    nearest = off;
  }
  return best;
}

}  // namespace diffq
