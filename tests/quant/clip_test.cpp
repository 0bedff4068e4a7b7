#include "quant/clip.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "quant/grid.h"
#include "tests/quant/diffq_support.h"

namespace diffq {
namespace {

Extremes extremes_of(const std::vector<float>& weights) {
  const auto [low, high] = std::ranges::minmax(weights);
  return {low, high};
}

Extremes ends_for(const std::vector<float>& weights, double bits) {
  const double scale = 1 / (std::exp2(bits) - 1);
  return least_error_ends(weights.data(), static_cast<int64_t>(weights.size()), scale * scale,
                          extremes_of(weights));
}

std::vector<float> floats(const at::Tensor& values) {
  return {values.const_data_ptr<float>(), values.const_data_ptr<float>() + values.numel()};
}

/// The error that is minimised, restated.
double expected_error(const std::vector<float>& weights, double bits, double low, double high) {
  const double step = (high - low) / (std::exp2(bits) - 1);
  double sum = step * step / 12 * static_cast<double>(weights.size());
  for (const double w : weights) sum += std::pow(std::max({0.0, w - high, low - w}), 2);
  return sum;
}

double rounding_error(const std::vector<float>& weights, int bits, const Extremes& ends) {
  const Grid grid{ends.min, ends.max, Grid::top_of(bits)};
  double sum = 0;
  for (const float w : weights) sum += std::pow(double{grid.round(w)} - double{w}, 2);
  return sum;
}

TEST(LeastErrorEnds, NoOtherEndsHaveLess) {
  at::manual_seed(3);
  const at::Tensor normal = at::randn({20000});
  for (const at::Tensor& tensor : {normal, normal.exp(), normal.pow(3), at::rand({20000}) - 0.2}) {
    const std::vector<float> weights = floats(tensor.contiguous());
    for (const double bits : {1.0, 2.0, 2.6, 4.0, 8.0}) {
      const Extremes ends = ends_for(weights, bits), all = extremes_of(weights);
      const double low = double{ends.min}, high = double{ends.max};
      const double least = expected_error(weights, bits, low, high);
      for (const double shift : {-0.03, 0.03}) {
        const double by = shift * (high - low);
        EXPECT_GE(expected_error(weights, bits, low + by, high), least * (1 - 1e-6)) << bits;
        EXPECT_GE(expected_error(weights, bits, low, high + by), least * (1 - 1e-6)) << bits;
      }
      EXPECT_GE(ends.min, all.min);
      EXPECT_LE(ends.max, all.max);
    }
  }
}

/// What is known of a normal distribution: 2 bits end 1.49 standard deviations out (Max's quantizer).
TEST(LeastErrorEnds, OfANormalDistribution) {
  at::manual_seed(4);
  const std::vector<float> weights = floats(at::randn({60000}));
  const Extremes two = ends_for(weights, 2);
  EXPECT_NEAR(two.max, 1.49, 0.08);
  EXPECT_NEAR(two.min, -1.49, 0.08);
  for (const int bits : {2, 3, 4}) {
    const double clipped = rounding_error(weights, bits, ends_for(weights, bits));
    EXPECT_LT(clipped, 0.6 * rounding_error(weights, bits, extremes_of(weights))) << bits;
  }
}

TEST(LeastErrorEnds, TensorsThatAreSpecial) {
  EXPECT_EQ(ends_for({2, 2, 2}, 3).min, 2);
  EXPECT_EQ(ends_for({2, 2, 2}, 3).max, 2);
  const Extremes two = ends_for({-1, 1}, 8);
  EXPECT_NEAR(two.min, -1, 0.01);
  EXPECT_NEAR(two.max, 1, 0.01);
  EXPECT_GT(ends_for({0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 2).range(), 0);
}

}  // namespace
}  // namespace diffq
