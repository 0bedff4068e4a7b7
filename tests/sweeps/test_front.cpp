// Fronts: targets evenly spaced in log size, and which of them is next.

#include "sweeps/front.h"

#include <algorithm>
#include <cmath>

#include "tests/sweeps/sweep_text.h"

namespace diffq {
namespace {

TEST(Front, TargetsAreAFactorApart) {
  const std::vector<double> targets = front_targets({8, 0.03, 0.12});
  ASSERT_EQ(targets.size(), 8u);
  EXPECT_EQ(targets.front(), 0.03);
  EXPECT_EQ(targets.back(), 0.12);
  for (size_t i = 1; i < 8; ++i) EXPECT_NEAR(targets[i] / targets[i - 1], std::pow(4, 1 / 7.0), 1e-4);
}

TEST(Front, TheEndsFirstThenTheWidestGap) {
  const std::vector<double> candidates{1, 2, 4, 8, 16};
  EXPECT_EQ(choose_of_front(candidates, {}).candidate, 4u);
  EXPECT_EQ(choose_of_front(candidates, {15.9}).candidate, 4u) << "still the largest";
  EXPECT_EQ(choose_of_front(std::vector<double>{1, 2, 4, 8}, {15.9}).candidate, 0u);
  const FrontChoice middle = choose_of_front(std::vector<double>{2, 4, 8}, {15.9, 0.99});
  EXPECT_EQ(middle.candidate, 1u);
  EXPECT_EQ(middle.gap.low_mb, 0.99);
  EXPECT_EQ(middle.gap.high_mb, 15.9);
  // Runs with a λ have filled the upper half.
  EXPECT_EQ(choose_of_front(std::vector<double>{2, 4, 8}, {15.9, 9, 6, 0.99}).candidate, 0u);
}

/// Stopped at any time, the largest gap is at most twice what the points could do at best.
TEST(Front, IsAsEvenAsItsPointsAllow) {
  for (const int64_t points : {2, 3, 8, 13}) {
    std::vector<double> left = front_targets({points, 1, 100}), taken;
    while (!left.empty()) {
      const size_t next = choose_of_front(left, taken).candidate;
      taken.push_back(left[next] * 0.995);
      left.erase(left.begin() + static_cast<ptrdiff_t>(next));
      std::vector<double> sorted = taken;
      std::ranges::sort(sorted);
      double widest = 0;
      for (size_t i = 1; i < sorted.size(); ++i)
        widest = std::max(widest, std::log(sorted[i] / sorted[i - 1]));
      if (taken.size() < 2) continue;
      const double mean = std::log(sorted.back() / sorted.front()) / static_cast<double>(taken.size() - 1);
      EXPECT_LE(widest, 2.01 * mean) << taken.size() << " of " << points;
    }
  }
}

TEST(Front, IsAListOfTargets) {
  const Sweep front = read_text(with_methods(
      R"({"method": "diffq", "front": {"points": 3, "from_mb": 0.05, "to_mb": 0.2}, "group_size": [4, 8]})"));
  const Sweep list =
      read_text(with_methods(R"({"method": "diffq", "group_size": [4, 8], "target_mb": [0.05, 0.1, 0.2]})"));
  ASSERT_EQ(front.runs.size(), 6u);
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(front.runs[i].run_id, list.runs[i].run_id);
    EXPECT_EQ(front.runs[i].front == front.runs[0].front, i < 3) << "each group size has its own";
    EXPECT_EQ(list.runs[i].front, "");
  }
}

}  // namespace
}  // namespace diffq
