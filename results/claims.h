#pragma once
// The headlines of arXiv:2104.09987 next to what DiffQ did in a sweep, and why the two can't be compared
// where data or model differ.

#include <string>
#include <vector>

#include "results/comparison.h"

namespace diffq {

struct ClaimCheck {
  std::string claim;       ///< "ImageNet, DeiT-B: −0.3 top-1 at 8 times smaller"
  std::string measured;    ///< DiffQ's smallest loss at that ratio or beyond, or that no setting gets there
  std::string comparable;  ///< "yes", or "not comparable: …"
};

/// The paper's claims for the comparison's benchmark; none for a benchmark that it doesn't have.
std::vector<ClaimCheck> check_claims(const Comparison& comparison);

}  // namespace diffq
