// The noise: pinned values, the same bits from every code path, and its statistics at fixed seeds.

#include "quant/noise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "quant/kernels.h"
#include "quant/quantizer.h"

namespace diffq {
namespace {

std::vector<CodePath> code_paths() {
  std::vector<CodePath> paths{CodePath::plain};
  for (const CodePath path : {CodePath::avx2, CodePath::avx512}) {
    if (has_code_path(path)) paths.push_back(path);
  }
  return paths;
}

std::vector<float> draw(const NoiseSource& source, int64_t n, CodePath path = best_code_path(),
                        int64_t first_block = 0) {
  std::vector<float> noise(static_cast<size_t>((n + kNoiseBlock - 1) / kNoiseBlock * kNoiseBlock));
  kernels(path).draw(source, first_block, n, noise.data());
  noise.resize(static_cast<size_t>(n));
  return noise;
}

double moment(const std::vector<float>& values, int power) {
  double sum = 0;
  for (const float x : values) sum += std::pow(double{x}, power);
  return sum / static_cast<double>(values.size());
}

double correlation(const std::vector<float>& a, const std::vector<float>& b, size_t lag = 0) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i + lag < a.size(); ++i) {
    ab += double{a[i]} * double{b[i + lag]};
    aa += double{a[i]} * double{a[i]};
    bb += double{b[i + lag]} * double{b[i + lag]};
  }
  return ab / std::sqrt(aa * bb);
}

/// Σ (found - expected)² / expected over equally likely bins.
double chi_square(const std::vector<int64_t>& counts, double total) {
  const double expected = total / static_cast<double>(counts.size());
  double sum = 0;
  for (const int64_t count : counts)
    sum += (static_cast<double>(count) - expected) * (static_cast<double>(count) - expected);
  return sum / expected;
}

constexpr int64_t kMany = 1 << 22;

NoiseSource source_of(NoiseKind kind, uint64_t seed = 12345, uint32_t step = 7, uint32_t tensor = 3) {
  return {kind, seed, step, tensor, nullptr};
}

class EitherNoise : public testing::TestWithParam<NoiseKind> {};
INSTANTIATE_TEST_SUITE_P(Noise, EitherNoise, testing::Values(NoiseKind::gaussian, NoiseKind::uniform));

TEST_P(EitherNoise, EveryPathGivesTheBitsOfTheSpecification) {
  for (const uint64_t seed : {0ull, 1ull, 0xfedcba9876543210ull}) {
    const NoiseSource source = source_of(GetParam(), seed, 0xffffffffu, 0x80000001u);
    std::vector<float> expected;
    for (int64_t i = 0; i < 3000; ++i) expected.push_back(noise_at(source, i));
    for (const CodePath path : code_paths()) {
      const std::vector<float> noise = draw(source, 3000, path);
      EXPECT_EQ(0, std::memcmp(noise.data(), expected.data(), sizeof(float) * expected.size()))
          << static_cast<int>(path);
    }
  }
}

TEST_P(EitherNoise, PathsAgreeOnMillionsAndBeyond32BitsOfCounters) {
  const NoiseSource source = source_of(GetParam());
  const std::vector<float> plain = draw(source, 1 << 20, CodePath::plain);
  const int64_t far = int64_t{1} << 28;  // block whose counters pass 2^32
  const std::vector<float> plain_far = draw(source, 1024, CodePath::plain, far - 4);
  for (int64_t i = 0; i < 1024; i += 13) {
    EXPECT_EQ(plain_far[static_cast<size_t>(i)], noise_at(source, (far - 4) * kNoiseBlock + i));
  }
  EXPECT_NE(plain_far[4 * kNoiseBlock], plain[0]);
  for (const CodePath path : code_paths()) {
    EXPECT_EQ(plain, draw(source, 1 << 20, path));
    EXPECT_EQ(plain_far, draw(source, 1024, path, far - 4));
  }
}

/// Moments of the ideal distributions; the tolerance is five standard errors of each sample moment, from the
/// ideal ones.
TEST_P(EitherNoise, MomentsToTheEighth) {
  const std::vector<float> noise = draw(source_of(GetParam()), kMany);
  const auto ideal = [&](int power) {  // of an even power
    double value = std::exp2(-power);
    if (GetParam() == NoiseKind::uniform) return value / (power + 1);
    for (int k = power - 1; k > 1; k -= 2) value *= k;
    return value;
  };
  for (int power = 1; power <= 8; ++power) {
    const double expected = power % 2 ? 0 : ideal(power);
    const double error = std::sqrt((ideal(2 * power) - expected * expected) / static_cast<double>(kMany));
    EXPECT_NEAR(moment(noise, power), expected, 5 * error) << "moment " << power;
  }
}

TEST_P(EitherNoise, ChiSquareOfTheDistribution) {
  constexpr int kBins = 256;
  std::vector<int64_t> counts(kBins);
  for (const float x : draw(source_of(GetParam()), kMany)) {
    const double u =
        GetParam() == NoiseKind::uniform ? double{x} + 0.5 : 0.5 * std::erfc(-double{x} * std::sqrt(2.0));
    ++counts[static_cast<size_t>(std::clamp(static_cast<int>(u * kBins), 0, kBins - 1))];
  }
  // 255 degrees of freedom: mean 255, standard deviation 22.6.
  EXPECT_NEAR(chi_square(counts, kMany), 255, 5 * 22.6);
}

/// Pairs of neighbours at several distances fill the plane evenly: 16 x 16 equally likely cells.
TEST_P(EitherNoise, ChiSquareOfPairs) {
  const std::vector<float> noise = draw(source_of(GetParam()), kMany);
  const auto cell = [&](float x) {
    const double u =
        GetParam() == NoiseKind::uniform ? double{x} + 0.5 : 0.5 * std::erfc(-double{x} * std::sqrt(2.0));
    return static_cast<size_t>(std::clamp(static_cast<int>(u * 16), 0, 15));
  };
  for (const size_t lag : {1, 8, 16, 32, 128}) {
    std::vector<int64_t> counts(256);
    int64_t pairs = 0;
    for (size_t i = 0; i + lag < noise.size(); i += (i + 1) % lag == 0 ? lag + 1 : 1, ++pairs) {
      ++counts[16 * cell(noise[i]) + cell(noise[i + lag])];
    }
    EXPECT_NEAR(chi_square(counts, static_cast<double>(pairs)), 255, 5 * 22.6) << "lag " << lag;
  }
}

/// Values and their squares: squares would show a shared radius.
TEST_P(EitherNoise, NoCorrelationBetweenEntriesStepsTensorsAndSeeds) {
  const auto centred_squares = [](std::vector<float> values) {
    const auto mean = static_cast<float>(moment(values, 2));
    for (float& x : values) x = x * x - mean;
    return values;
  };
  const std::vector<float> noise = draw(source_of(GetParam()), kMany);
  const std::vector<float> squares = centred_squares(noise);
  const double limit = 5 / std::sqrt(static_cast<double>(kMany));
  for (const size_t lag : {1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 64, 127, 128, 129, 1024}) {
    EXPECT_LT(std::abs(correlation(noise, noise, lag)), limit) << "lag " << lag;
    EXPECT_LT(std::abs(correlation(squares, squares, lag)), limit) << "squares, lag " << lag;
  }
  std::vector<NoiseSource> others;
  for (const uint32_t bit : {0u, 1u, 16u, 31u}) {
    others.push_back(source_of(GetParam(), 12345, 7 ^ (1u << bit), 3));
    others.push_back(source_of(GetParam(), 12345, 7, 3 ^ (1u << bit)));
    others.push_back(source_of(GetParam(), 12345ull ^ (1ull << bit), 7, 3));
    others.push_back(source_of(GetParam(), 12345ull ^ (1ull << (bit + 32)), 7, 3));
  }
  for (const NoiseSource& other : others) {
    const std::vector<float> theirs = draw(other, kMany);
    EXPECT_LT(std::abs(correlation(noise, theirs)), limit)
        << other.seed << " " << other.step << " " << other.tensor;
    EXPECT_LT(std::abs(correlation(squares, centred_squares(theirs))), limit)
        << other.step << " " << other.tensor;
  }
}

TEST(Noise, PhiloxMatchesItsPublishedVectors) {
  // Known answers of Philox4x32-10 (Random123): the uniform noise shows every word's two halves.
  const auto halves = [](uint32_t word) {
    return std::pair(static_cast<float>((static_cast<int32_t>(word << 16) >> 15) | 1) * 0x1p-17f,
                     static_cast<float>((static_cast<int32_t>(word) >> 15) | 1) * 0x1p-17f);
  };
  const std::array<uint32_t, 4> zeros{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  for (int word = 0; word < 4; ++word) {
    const auto [low, high] = halves(zeros[static_cast<size_t>(word)]);
    EXPECT_EQ(noise_at({NoiseKind::uniform, 0, 0, 0, nullptr}, 32 * word), low);
    EXPECT_EQ(noise_at({NoiseKind::uniform, 0, 0, 0, nullptr}, 32 * word + 16), high);
  }
}

TEST(Noise, FirstValuesArePinned) {
  // A change here changes every training run: say so in the change notes.
  const auto first = [](NoiseKind kind) { return draw(source_of(kind), 4); };
  EXPECT_EQ(first(NoiseKind::gaussian),
            (std::vector<float>{-0x1.25535ap-8f, -0x1.41a40ep-1f, -0x1.11b34ap-6f, 0x1.1e9f34p-1f}));
  EXPECT_EQ(first(NoiseKind::uniform),
            (std::vector<float>{-0x1.8054p-3f, 0x1.61c8p-4f, 0x1.7e0ap-2f, -0x1.a7bp-5f}));
}

TEST(Noise, UniformIsSymmetricAndNeverAtItsEnds) {
  const std::vector<float> noise = draw(source_of(NoiseKind::uniform), kMany);
  const auto [low, high] = std::minmax_element(noise.begin(), noise.end());
  EXPECT_EQ(*low, -0.5f + 0x1p-17f);
  EXPECT_EQ(*high, 0.5f - 0x1p-17f);
}

TEST(Noise, GaussianTails) {
  const std::vector<float> noise = draw(source_of(NoiseKind::gaussian), kMany);
  for (const double sigmas : {1.0, 2.0, 3.0, 4.0}) {
    const double expected = std::erfc(sigmas / std::sqrt(2.0)) * static_cast<double>(kMany);
    const auto found = static_cast<double>(
        std::count_if(noise.begin(), noise.end(), [&](float x) { return std::abs(2 * x) > sigmas; }));
    EXPECT_NEAR(found, expected, 5 * std::sqrt(expected)) << sigmas;
  }
}

/// All 2^32 words would take seconds; the extreme ones show that nothing is NaN and where the tail ends.
TEST(Noise, GaussianIsFiniteAtItsExtremes) {
  const std::vector<float> noise = draw(source_of(NoiseKind::gaussian, 99), kMany);
  for (const float x : noise) ASSERT_TRUE(std::abs(x) <= 2.70f);  // 5.40 / 2: sqrt(2 * 21 ln 2) / 2
}

TEST(Noise, MixedSeedsDiffer) {
  std::vector<uint64_t> seeds;
  for (uint64_t seed = 0; seed < 64; ++seed) {
    for (uint64_t value = 0; value < 64; ++value) seeds.push_back(mix_seed(seed, value));
  }
  std::sort(seeds.begin(), seeds.end());
  EXPECT_EQ(std::adjacent_find(seeds.begin(), seeds.end()), seeds.end());
}

}  // namespace
}  // namespace diffq
