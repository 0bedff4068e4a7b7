// Every code path against the same thing done one entry at a time.

#include "quant/kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>
#include <vector>

namespace diffq {
namespace {

std::vector<float> random_floats(int64_t n, float size, unsigned seed = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, size);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& x : values) x = normal(generator);
  return values;
}

std::vector<CodePath> code_paths() {
  std::vector<CodePath> paths{CodePath::plain};
  for (const CodePath path : {CodePath::avx2, CodePath::avx512}) {
    if (has_code_path(path)) paths.push_back(path);
  }
  return paths;
}

/// Perfect binary tree over a group, entries beyond the end being 0.
float tree_sum(const std::vector<float>& products, size_t begin, size_t size) {
  if (size == 1) return begin < products.size() ? products[begin] : 0.0f;
  return tree_sum(products, begin, size / 2) + tree_sum(products, begin + size / 2, size / 2);
}

constexpr int64_t kGroupSizes[] = {1, 2, 4, 8, 16, 32, 64, 128};
constexpr int64_t kLengths[] = {1, 5, 16, 127, 128, 129, 640, 1000};

TEST(Kernels, AddNoise) {
  for (const CodePath path : code_paths()) {
    for (const NoiseKind kind : {NoiseKind::gaussian, NoiseKind::uniform}) {
      for (const int64_t group : kGroupSizes) {
        for (const int64_t n : kLengths) {
          const NoiseSource source{kind, 5, 6, 7, nullptr};
          const std::vector<float> master = random_floats(n, 1),
                                   steps = random_floats(n / group + kGroupPadding, 0.1f);
          std::vector<float> compute(static_cast<size_t>(n) + 1, -777.0f), expected = compute;
          kernels(path).add_noise(source, group, 256, n, steps.data(), master.data(), compute.data());
          for (int64_t i = 0; i < n; ++i) {
            const auto k = static_cast<size_t>(i);
            expected[k] = master[k] + steps[static_cast<size_t>(i / group)] * noise_at(source, 256 + i);
          }
          EXPECT_EQ(compute, expected)
              << "path " << static_cast<int>(path) << " group " << group << " n " << n;
        }
      }
    }
  }
}

TEST(Kernels, GroupDots) {
  for (const CodePath path : code_paths()) {
    for (const NoiseKind kind : {NoiseKind::gaussian, NoiseKind::uniform}) {
      for (const int64_t group : kGroupSizes) {
        for (const int64_t n : kLengths) {
          const NoiseSource source{kind, 5, 6, 7, nullptr};
          const std::vector<float> gradient = random_floats(n, 1);
          const int64_t groups = (n + group - 1) / group;
          std::vector<float> dots(static_cast<size_t>(groups + kGroupPadding)), products, expected;
          kernels(path).group_dots(source, group, 128, n, gradient.data(), dots.data());
          for (int64_t i = 0; i < n; ++i)
            products.push_back(gradient[static_cast<size_t>(i)] * noise_at(source, 128 + i));
          for (int64_t k = 0; k < groups; ++k) {
            expected.push_back(
                tree_sum(products, static_cast<size_t>(k * group), static_cast<size_t>(group)));
          }
          dots.resize(static_cast<size_t>(groups));
          EXPECT_EQ(dots, expected) << "path " << static_cast<int>(path) << " group " << group << " n " << n;
        }
      }
    }
  }
}

TEST(Kernels, GivenNoiseTakesTheSameWay) {
  const int64_t n = 300;
  const NoiseSource drawn{NoiseKind::gaussian, 5, 6, 7, nullptr};
  std::vector<float> noise;
  for (int64_t i = 0; i < n; ++i) noise.push_back(noise_at(drawn, i));
  NoiseSource given = drawn;
  given.given = noise.data();
  const std::vector<float> master = random_floats(n, 1), steps = random_floats(n + kGroupPadding, 1);
  for (const CodePath path : code_paths()) {
    std::vector<float> a(static_cast<size_t>(n)), b = a;
    std::vector<float> c(static_cast<size_t>(n + kGroupPadding)), d = c;
    kernels(path).add_noise(drawn, 8, 0, n, steps.data(), master.data(), a.data());
    kernels(path).add_noise(given, 8, 0, n, steps.data(), master.data(), b.data());
    EXPECT_EQ(a, b);
    kernels(path).group_dots(drawn, 8, 0, n, master.data(), c.data());
    kernels(path).group_dots(given, 8, 0, n, master.data(), d.data());
    EXPECT_EQ(c, d);
  }
}

TEST(Kernels, Extremes) {
  for (const CodePath path : code_paths()) {
    for (const int64_t n : {1, 2, 31, 32, 33, 100, 16384}) {
      for (const int64_t place : {int64_t{0}, n / 2, n - 1}) {
        std::vector<float> values = random_floats(n, 1);
        values[static_cast<size_t>(place)] = 100;
        values[static_cast<size_t>(n - 1 - place)] = -100;
        float min = 0, max = 0;
        kernels(path).extremes(values.data(), n, &min, &max);
        EXPECT_EQ(min, -100);
        EXPECT_EQ(max, n - 1 == 2 * place ? *std::max_element(values.begin(), values.end()) : 100);
      }
    }
  }
}

/// Against double precision, over all logits that training reaches and far beyond.
TEST(Kernels, GroupScales) {
  std::vector<float> logits;
  for (float x = -30; x <= 30; x += 0.037f) logits.push_back(x);
  const size_t n = logits.size();
  for (const Parametrisation kind : {Parametrisation::bits, Parametrisation::noise}) {
    for (const auto& [min_bits, max_bits] : {std::pair{2.0, 15.0}, {1.0, 10.0}, {3.0, 15.0}, {0.5, 8.5}}) {
      const GroupMap map = make_group_map(kind, min_bits, max_bits);
      std::vector<float> plain(n + kGroupPadding), plain_slopes = plain;
      kernels(CodePath::plain)
          .group_scales(map, logits.data(), static_cast<int64_t>(n), plain.data(), plain_slopes.data());
      double error = 0, slope_error = 0;
      for (size_t k = 0; k < n; ++k) {
        const double x = double{logits[k]}, part = 1 / (1 + std::exp(-x)), rest = 1 / (1 + std::exp(x));
        const double low = -std::log(std::exp2(min_bits) - 1), high = -std::log(std::exp2(max_bits) - 1);
        double scale = 0, slope = 0;
        if (kind == Parametrisation::bits) {
          const double power = std::exp2(max_bits * part + min_bits * rest);
          scale = 1 / (power - 1);
          slope = -std::log(2.0) * power / ((power - 1) * (power - 1)) * (max_bits - min_bits) * part * rest;
        } else {
          scale = std::exp(high * part + low * rest);
          slope = scale * (high - low) * part * rest;
        }
        error = std::max(error, std::abs(double{plain[k]} / scale - 1));
        slope_error = std::max(slope_error, std::abs(double{plain_slopes[k]} / slope - 1));
      }
      EXPECT_LT(error, 3e-6) << min_bits << " " << max_bits;
      EXPECT_LT(slope_error, 5e-6) << min_bits << " " << max_bits;
      for (const CodePath path : code_paths()) {
        std::vector<float> scales(n + kGroupPadding), slopes = scales;
        kernels(path).group_scales(map, logits.data(), static_cast<int64_t>(n), scales.data(), slopes.data());
        EXPECT_TRUE(std::equal(plain.begin(), plain.begin() + static_cast<int64_t>(n), scales.begin()));
        EXPECT_TRUE(
            std::equal(plain_slopes.begin(), plain_slopes.begin() + static_cast<int64_t>(n), slopes.begin()));
      }
    }
  }
}

TEST(Kernels, BitsSlopesAreRightAndTheSameOnAllPaths) {
  std::vector<float> logits;
  for (double x = -12; x < 12; x += 0.037) logits.push_back(static_cast<float>(x));
  const size_t n = logits.size();
  ASSERT_NE(n % 16, 0u) << "the tail counts too";
  constexpr float kWeight = 3.5f, kBefore = 0.25f;
  for (const Parametrisation kind : {Parametrisation::bits, Parametrisation::noise}) {
    const GroupMap map = make_group_map(kind, 2, 15);
    std::vector<float> plain(n, kBefore);
    kernels(CodePath::plain)
        .add_bits_slopes(map, logits.data(), static_cast<int64_t>(n), kWeight, plain.data());
    const double low = -std::log(std::exp2(2) - 1), high = -std::log(std::exp2(15) - 1);
    for (size_t k = 0; k < n; ++k) {
      const double x = double{logits[k]}, part = 1 / (1 + std::exp(-x)), rest = 1 / (1 + std::exp(x));
      double slope = 13 * part * rest;
      if (kind == Parametrisation::noise) {
        const double scale = std::exp(high * part + low * rest);
        slope = -(high - low) * part * rest / (std::log(2.0) * (1 + scale));
      }
      const double expected = double{kBefore} + double{kWeight} * slope;
      ASSERT_NEAR(double{plain[k]}, expected, 3e-6 * expected) << "logit " << x;
    }
    for (const CodePath path : code_paths()) {
      std::vector<float> gradients(n, kBefore);
      kernels(path).add_bits_slopes(map, logits.data(), static_cast<int64_t>(n), kWeight, gradients.data());
      EXPECT_EQ(plain, gradients);
    }
  }
}

TEST(Kernels, UnknownPathIsRefused) {
  for (const CodePath path : {CodePath::avx2, CodePath::avx512}) {
    if (!has_code_path(path)) {
      EXPECT_THROW(kernels(path), std::invalid_argument);
    }
  }
  EXPECT_TRUE(has_code_path(CodePath::plain));
  EXPECT_TRUE(has_code_path(best_code_path()));
}

}  // namespace
}  // namespace diffq
