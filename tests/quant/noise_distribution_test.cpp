// The exact distribution of the noise, over all 2^32 words that the generator can give: the table of
// docs/noise.md. A word's radius comes from its bits 12-31 (bit 11 is set), its angle from bits 0-11, and
// nothing links them, so means over all words are products of a mean over 2^20 radii and one over 2^12
// angles.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "quant/noise.h"

namespace diffq {
namespace {

constexpr uint32_t kRadii = 1u << 20, kAngles = 1u << 12;

double first(uint32_t top, uint32_t angle) { return double{gaussian_noise(top << 12 | angle, false)}; }
double second(uint32_t top, uint32_t angle) { return double{gaussian_noise(top << 12 | angle, true)}; }

struct Parts {
  std::vector<double> radii;   ///< sorted
  std::vector<double> angles;  ///< cosines of all angles, both numbers of a word
};

Parts parts_of_gaussian() {
  Parts parts;
  const double one_radius = std::hypot(first(0, 0), second(0, 0));
  for (uint32_t top = 0; top < kRadii; ++top)
    parts.radii.push_back(std::hypot(first(top, 0), second(top, 0)));
  for (uint32_t angle = 0; angle < kAngles; ++angle) {
    parts.angles.push_back(first(0, angle) / one_radius);
    parts.angles.push_back(second(0, angle) / one_radius);
  }
  std::sort(parts.radii.begin(), parts.radii.end());
  return parts;
}

double mean_power(const std::vector<double>& values, int power) {
  double sum = 0;
  for (const double x : values) sum += std::pow(x, power);
  return sum / static_cast<double>(values.size());
}

TEST(NoiseDistribution, GaussianMoments) {
  const Parts parts = parts_of_gaussian();
  const double limits[] = {0, 0, 1e-6, 0, 1e-5, 0, 1e-4, 0, 5e-4};
  double ideal = 1;
  for (int power = 1; power <= 8; ++power) {
    const double moment = mean_power(parts.radii, power) * mean_power(parts.angles, power);
    if (power % 2) {
      EXPECT_NEAR(moment, 0, 1e-6) << power;
      continue;
    }
    ideal *= (power - 1) / 4.0;  // (power - 1)!! / 2^power
    std::printf("moment %d of N(0,1)/2: %.9f, ideal %.9f, relative error %+.1e\n", power, moment, ideal,
                moment / ideal - 1);
    EXPECT_NEAR(moment / ideal, 1, limits[power]) << power;
  }
}

TEST(NoiseDistribution, GaussianTails) {
  const Parts parts = parts_of_gaussian();
  for (const double sigmas : {1.0, 2.0, 3.0, 4.0, 4.5, 5.0, 5.3}) {
    double beyond = 0;
    for (const double cosine : parts.angles) {
      const double needed = sigmas / 2 / std::abs(cosine);
      beyond += static_cast<double>(parts.radii.end() -
                                    std::upper_bound(parts.radii.begin(), parts.radii.end(), needed));
    }
    beyond /= static_cast<double>(parts.radii.size()) * static_cast<double>(parts.angles.size());
    const double ideal = std::erfc(sigmas / std::sqrt(2.0));
    std::printf("P(|x| > %.1f sigma): %.4e, ideal %.4e, ratio %.4f\n", sigmas, beyond, ideal, beyond / ideal);
    EXPECT_NEAR(beyond / ideal, 1, sigmas <= 4 ? 0.01 : sigmas <= 4.5 ? 0.05 : 1) << sigmas;
  }
  const double largest = 2 * parts.radii.back() * *std::max_element(parts.angles.begin(), parts.angles.end());
  std::printf("largest: %.3f sigma\n", largest);
  EXPECT_NEAR(largest, std::sqrt(2 * 21 * std::log(2.0)), 1e-3);
}

/// One word's two numbers: uncorrelated, their squares too.
TEST(NoiseDistribution, GaussianPairs) {
  double products = 0, squares = 0;
  const double radius = std::hypot(first(0, 0), second(0, 0));
  for (uint32_t angle = 0; angle < kAngles; ++angle) {
    const double a = first(0, angle) / radius, b = second(0, angle) / radius;
    products += a * b / kAngles;
    squares += a * a * b * b / kAngles;
  }
  EXPECT_NEAR(products, 0, 1e-7);
  EXPECT_NEAR(squares, 1.0 / 8,
              1e-6);  // E[cos² sin²]: with E[r⁴] = 1/2 that makes squares of independent normals
}

TEST(NoiseDistribution, UniformMoments) {
  for (const bool half : {false, true}) {
    std::vector<double> values;
    for (uint32_t bits = 0; bits < 1u << 16; ++bits)
      values.push_back(double{uniform_noise(half ? bits << 16 : bits, half)});
    for (const int power : {1, 3, 5, 7}) EXPECT_NEAR(mean_power(values, power), 0, 1e-15) << power;
    EXPECT_NEAR(mean_power(values, 2), (1 - 0x1p-32) / 12, 1e-14);
    for (const int power : {4, 6, 8})
      EXPECT_NEAR(mean_power(values, power) * (power + 1) * std::exp2(power), 1, 1e-8);
    std::sort(values.begin(), values.end());
    EXPECT_EQ(std::adjacent_find(values.begin(), values.end()), values.end());
  }
}

}  // namespace
}  // namespace diffq
