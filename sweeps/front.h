#pragma once
// A front that fills itself: runs with target sizes that stand evenly, in log size, between two sizes, each
// handed out where the front as it is then has its largest gap. So a front that is stopped at any time is as
// even as its runs allow.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace diffq {

struct FrontSpec {
  int64_t points = 8;
  double from_mb = 0, to_mb = 0;
};

/// `points` sizes from from_mb to to_mb, each the same factor above the one before, as numbers of at most six
/// digits.
std::vector<double> front_targets(const FrontSpec& front);

/// Sizes between which nothing has been taken; 0 and infinity where there is no end.
struct Gap {
  double low_mb = 0, high_mb = 0;
};
struct FrontChoice {
  size_t candidate = 0;
  Gap gap;
};

/// Which of the candidates (targets in MB, at least one) is next, where these sizes are taken: the largest,
/// if it lies above all of them, then the smallest, if below; else, in the gap that is widest in log size,
/// the one nearest to its middle. The first among equals.
FrontChoice choose_of_front(std::span<const double> candidates, std::vector<double> taken);

}  // namespace diffq
