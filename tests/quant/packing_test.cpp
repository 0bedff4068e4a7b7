// Bit packing and packed tensors against the same things said one bit and one weight at a time.

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "quant/bit_packing.h"
#include "quant/grid.h"
#include "quant/half.h"
#include "quant/level_coding.h"
#include "quant/packed_tensor.h"

namespace diffq {
namespace {

std::vector<uint16_t> random_numbers(int64_t count, int width, std::mt19937& random) {
  std::vector<uint16_t> numbers(static_cast<size_t>(count));
  for (uint16_t& number : numbers) number = static_cast<uint16_t>(random() & ((1u << width) - 1));
  return numbers;
}

/// Number i takes bits [i w, (i + 1) w), bit j being bit j % 8 of byte j / 8.
std::vector<uint8_t> packed_bit_by_bit(const std::vector<uint16_t>& numbers, int width) {
  std::vector<uint8_t> bytes((numbers.size() * static_cast<size_t>(width) + 7) / 8);
  size_t j = 0;
  for (const uint16_t number : numbers) {
    for (int k = 0; k < width; ++k, ++j) bytes[j / 8] |= static_cast<uint8_t>((number >> k & 1) << j % 8);
  }
  return bytes;
}

TEST(BitPacking, IsTheLayoutAndComesBack) {
  std::mt19937 random(1);
  std::vector<int64_t> counts{4096, 20001, 100'007};
  for (int64_t count = 0; count <= 70; ++count) counts.push_back(count);
  for (int width = 1; width <= kMostPackedBits; ++width) {
    for (const int64_t count : counts) {
      const std::vector<uint16_t> numbers = random_numbers(count, width, random);
      const std::vector<uint8_t> expected = packed_bit_by_bit(numbers, width);
      ASSERT_EQ(packed_bytes(count, width), static_cast<int64_t>(expected.size()));
      // Arrays of just the size, where a sanitizer sees every step beyond, and one with a guard.
      std::vector<uint8_t> bytes(expected.size(), 0xff), guarded(expected.size() + 1, 0xa5);
      pack_bits(width, numbers.data(), count, bytes.data());
      ASSERT_EQ(bytes, expected) << count << " of " << width << " bits";
      pack_bits(width, numbers.data(), count, guarded.data());
      ASSERT_EQ(guarded.back(), 0xa5) << count << " of " << width << " bits";
      std::vector<uint16_t> back(numbers.size()), guarded_back(numbers.size() + 1, 0xa5a5);
      unpack_bits(width, bytes.data(), count, back.data());
      ASSERT_EQ(back, numbers) << count << " of " << width << " bits";
      unpack_bits(width, bytes.data(), count, guarded_back.data());
      ASSERT_EQ(guarded_back.back(), 0xa5a5) << count << " of " << width << " bits";
    }
  }
}

/// A tensor and what must come out of it, one weight at a time.
struct Sample {
  TensorLayout layout;
  std::vector<float> weights;
  std::vector<uint8_t> bits;
  float low = 0, high = 0;
  std::vector<Extremes> channels{};  ///< of more than one: their ends

  int width(size_t i) const { return bits[i / static_cast<size_t>(layout.group_size)]; }
  Grid grid(size_t i) const {
    const auto length = static_cast<size_t>(layout.numel / layout.channels);
    const Extremes ends = channels.empty() ? Extremes{low, high} : channels[i / length];
    return {ends.min, ends.max, Grid::top_of(width(i))};
  }

  float evaluated(size_t i) const {
    if (width(i) == 0) return 0;
    if (layout.grid == LevelGrid::range) return grid(i).is_point() ? grid(i).low : grid(i).round(weights[i]);
    const auto half = static_cast<float>(1 << (width(i) - 1));
    return round_half_even(std::clamp(weights[i] / low, -half, half - 1)) * low;
  }
  uint16_t level(size_t i) const {
    if (width(i) == 0) return 0;
    if (layout.grid == LevelGrid::range)
      return grid(i).is_point() ? uint16_t{0} : static_cast<uint16_t>(grid(i).level(weights[i]));
    const auto half = static_cast<float>(1 << (width(i) - 1));
    return static_cast<uint16_t>(std::nearbyint(std::clamp(weights[i] / low, -half, half - 1)) + half);
  }
  std::vector<uint8_t> packed(Coding coding) const {
    const std::vector<Extremes> ends = channels.empty() ? std::vector<Extremes>{{low, high}} : channels;
    return pack_tensor({layout, weights.data(), bits, ends}, coding);
  }
  int64_t groups() const { return static_cast<int64_t>(bits.size()); }
  uint64_t level_bits() const {
    uint64_t sum = 0;
    for (size_t i = 0; i < weights.size(); ++i) sum += static_cast<uint64_t>(width(i));
    return sum;
  }
};

/// Normal weights; `width` 0 draws one for every group.
Sample random_sample(int64_t numel, int64_t group_size, LevelGrid kind, int width, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.01f, 0.1f);
  Sample sample{{numel, group_size, kind}, {}, {}};
  for (int64_t i = 0; i < numel; ++i) sample.weights.push_back(normal(random));
  for (int64_t k = 0; k < sample.layout.groups(); ++k)
    sample.bits.push_back(static_cast<uint8_t>(width != 0 ? width : 1 + random() % 15));
  const auto [least, most] = std::ranges::minmax_element(sample.weights);
  sample.low = kind == LevelGrid::range ? *least : 0.03f;
  if (kind == LevelGrid::range) sample.high = *most;
  return sample;
}

std::vector<uint32_t> as_bits(const std::vector<float>& values) {
  std::vector<uint32_t> bits(values.size());
  std::memcpy(bits.data(), values.data(), values.size() * sizeof(float));
  return bits;
}

std::vector<float> unpacked(const TensorLayout& layout, Coding coding, const std::vector<uint8_t>& bytes) {
  std::vector<float> weights(static_cast<size_t>(layout.numel), std::nanf(""));
  unpack_tensor(layout, coding, bytes, weights.data());
  return weights;
}

void expect_comes_back(const Sample& sample) {
  std::vector<float> evaluated;
  std::vector<uint16_t> levels, found(sample.weights.size(), 0xffff);
  for (size_t i = 0; i < sample.weights.size(); ++i) {
    evaluated.push_back(sample.evaluated(i));
    levels.push_back(sample.level(i));
  }
  for (const Coding coding : {Coding::bits, Coding::zstd}) {
    SCOPED_TRACE(coding == Coding::bits ? "bits" : "zstd");
    const std::vector<uint8_t> bytes = sample.packed(coding);
    ASSERT_EQ(as_bits(unpacked(sample.layout, coding, bytes)), as_bits(evaluated));
    unpack_levels(sample.layout, coding, bytes, found.data());
    ASSERT_EQ(found, levels);
    ASSERT_EQ(unpack_bits_table(sample.layout, coding, bytes), sample.bits);
  }
  const std::vector<uint8_t> bits = sample.packed(Coding::bits), zstd = sample.packed(Coding::zstd);
  EXPECT_EQ(recode_tensor(sample.layout, Coding::bits, bits, Coding::zstd), zstd);
  EXPECT_EQ(recode_tensor(sample.layout, Coding::zstd, zstd, Coding::bits), bits);

  const auto [least, most] = std::ranges::minmax_element(sample.bits);
  const int table_bits =
      std::max<int>(std::bit_width(static_cast<unsigned>(*most - *least)), *least == 0 ? 1 : 0);
  const size_t one_range = sample.layout.grid == LevelGrid::range ? 8 : 4;
  const size_t head = (sample.channels.empty() ? one_range : 4 * sample.channels.size()) + 2;
  const auto table = static_cast<size_t>(packed_bytes(sample.groups(), table_bits));
  EXPECT_GE(bits.size(), (sample.level_bits() + 7) / 8 + table + head);
  EXPECT_LT(bits.size(), (sample.level_bits() + 7) / 8 + 15 + table + head);
  EXPECT_LE(zstd.size(), bits.size() + 16) << "one byte a list at most";
}

TEST(PackedTensor, ComesBackAsItWasEvaluated) {
  unsigned seed = 0;
  for (const int64_t numel : {1, 2, 7, 8, 9, 65, 1000, 4096, 4097, 20'011}) {
    for (const int64_t group_size : {int64_t{1}, int64_t{2}, int64_t{3}, int64_t{4}, int64_t{7}, int64_t{8},
                                     int64_t{16}, int64_t{100}, numel, numel + 5}) {
      for (const LevelGrid kind : {LevelGrid::range, LevelGrid::scale}) {
        for (const int width : {0, 1 + static_cast<int>(seed % 15)}) {
          SCOPED_TRACE(testing::Message() << numel << " weights in groups of " << group_size << ", grid "
                                          << static_cast<int>(kind) << ", width " << width);
          expect_comes_back(random_sample(numel, group_size, kind, width, ++seed));
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(Half, EveryOneComesBackAndNumbersGoToTheNearest) {
  for (uint32_t half = 0; half <= 0xffff; ++half)
    ASSERT_EQ(float_to_half(half_to_float(static_cast<uint16_t>(half))), half);
  EXPECT_EQ(float_to_half(1e9f), 0x7bff) << "the largest";
  EXPECT_EQ(half_below(1.0004f), 1);
  EXPECT_EQ(half_below(-1.0004f), -1 - 0x1p-10f);
  EXPECT_EQ(half_below(1 - 0x1p-20f), 1 - 0x1p-11f);
  EXPECT_EQ(half_below(-1e-12f), -0x1p-24f);
  EXPECT_EQ(half_below(0.25f), 0.25f);
  EXPECT_EQ(float_to_half(-65520.0f), 0xfbff);
  std::mt19937 random(3);
  for (int i = 0; i < 20'000; ++i) {
    const uint32_t half = random() % 0x7bff;
    const float low = half_to_float(static_cast<uint16_t>(half)),
                high = half_to_float(static_cast<uint16_t>(half + 1));
    const float part = static_cast<float>(random() % 1025) / 1024, value = low + part * (high - low);
    const uint32_t nearest = part < 0.5f || (part == 0.5f && half % 2 == 0) ? half : half + 1;
    ASSERT_EQ(float_to_half(value), nearest) << value;
    ASSERT_EQ(float_to_half(-value), nearest | 0x8000) << value;
  }
}

/// Ends that float16 holds, one channel of a single point.
Sample with_channels(Sample sample, int64_t channels) {
  sample.layout.channels = channels;
  for (int64_t k = 0; k < channels; ++k) {
    const float size = 0.125f * static_cast<float>(1 + k % 7);
    sample.channels.push_back(k == 2 ? Extremes{0.25f, 0.25f} : Extremes{-size, 0.5f * size});
  }
  return sample;
}

TEST(PackedTensor, ChannelsHaveTheirOwnEnds) {
  unsigned seed = 50;
  for (const int64_t channels : {2, 5, 64}) {
    for (const int64_t length : {1, 9, 130}) {
      for (const int64_t group_size : {int64_t{1}, int64_t{8}, int64_t{100}, channels * length}) {
        for (const int width : {0, 3}) {
          SCOPED_TRACE(testing::Message() << channels << " channels of " << length << ", groups of "
                                          << group_size << ", width " << width);
          expect_comes_back(with_channels(
              random_sample(channels * length, group_size, LevelGrid::range, width, ++seed), channels));
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(PackedTensor, GroupsMayHaveVanished) {
  unsigned seed = 80;
  for (const int64_t numel : {1, 7, 4097, 20'011}) {
    for (const int64_t group_size : {1, 8, 256}) {
      for (const int every : {1, 2, 50}) {
        SCOPED_TRACE(testing::Message()
                     << numel << " weights in groups of " << group_size << ", one in " << every);
        Sample sample = random_sample(numel, std::min(numel, group_size), LevelGrid::range, 0, ++seed);
        for (size_t k = 0; k < sample.bits.size(); k += static_cast<size_t>(every)) sample.bits[k] = 0;
        expect_comes_back(sample);
        if (HasFatalFailure()) return;
      }
    }
  }
}

/// A long one would make a short file ask for much memory.
TEST(PackedTensor, ALongGroupCannotVanish) {
  const Sample sample{{300, 300, LevelGrid::range}, std::vector<float>(300, 1.0f), {0}, 0, 1};
  EXPECT_THROW(unpacked(sample.layout, Coding::bits, sample.packed(Coding::bits)), DamagedFile);
}

TEST(PackedTensor, ComesBackInEveryWidth) {
  for (int width = 1; width <= kMostPackedBits; ++width) {
    for (const LevelGrid kind : {LevelGrid::range, LevelGrid::scale}) {
      SCOPED_TRACE(testing::Message() << width << " bits, grid " << static_cast<int>(kind));
      expect_comes_back(random_sample(5003, 8, kind, width, 7));
    }
  }
}

/// Groups that lie across two chunks of work, in sections of several.
TEST(PackedTensor, ComesBackFromLongSections) {
  for (const int64_t group_size : {1, 3, 100, 5000}) {
    for (const LevelGrid kind : {LevelGrid::range, LevelGrid::scale}) {
      SCOPED_TRACE(testing::Message() << "groups of " << group_size << ", grid " << static_cast<int>(kind));
      Sample sample = random_sample(50'001, group_size, kind, 3, 9);
      for (size_t k = 0; k < sample.bits.size(); k += 1 + k % 2) sample.bits[k] = 5;
      expect_comes_back(sample);
    }
  }
}

TEST(PackedTensor, AClaimBeyondItsBytesIsRefusedBeforeMemoryIsTaken) {
  const std::vector<uint8_t> bytes = random_sample(100, 8, LevelGrid::range, 0, 1).packed(Coding::bits);
  for (const Coding coding : {Coding::bits, Coding::zstd}) {
    for (const auto& [numel, group_size] : {std::pair{int64_t{1} << 40, 8}, {INT64_MAX, 8}, {1 << 24, 256}}) {
      const TensorLayout layout{numel, group_size, LevelGrid::range};
      EXPECT_THROW(check_size(layout, coding, bytes), DamagedFile);
      EXPECT_THROW(unpack_bits_table(layout, coding, bytes), DamagedFile);
      EXPECT_THROW(unpack_tensor(layout, coding, bytes, nullptr), DamagedFile);
      EXPECT_THROW(unpack_levels(layout, coding, bytes, nullptr), DamagedFile);
      EXPECT_THROW(recode_tensor(layout, coding, bytes, Coding::bits), DamagedFile);
    }
  }
}

/// Where groups may have no bits a byte stands for as much as it may stand for in zstd's frames, no more.
TEST(PackedTensor, AClaimOfGroupsWithoutBitsIsRefusedToo) {
  for (const Coding coding : {Coding::bits, Coding::zstd}) {
    Sample sample = random_sample(100 * 256, 256, LevelGrid::range, 3, 1);
    std::ranges::fill(sample.bits, uint8_t{0});
    const std::vector<uint8_t> bytes = sample.packed(coding);
    EXPECT_EQ(std::ssize(bytes), 10 + 13) << "a bit a group, whatever the coding";
    EXPECT_NO_THROW(check_size(sample.layout, coding, bytes));
    EXPECT_THROW(check_size({200 * 256, 256, LevelGrid::range}, coding, bytes), DamagedFile);
    EXPECT_THROW(check_size({100 * 256, 257, LevelGrid::range}, coding, bytes), DamagedFile);
  }
}

TEST(PackedTensor, HalvesGoToTheEvenLevelAndWhatIsOutsideToTheEnds) {
  const Sample range{
      {10, 10, LevelGrid::range}, {0, 0.5f, 1.5f, 2.5f, 13.5f, 14.5f, 15, -1, 99, -0.0f}, {4}, 0, 15};
  const Sample scale{
      {10, 10, LevelGrid::scale}, {-8, -7.5f, -6.5f, -0.5f, 0.5f, 1.5f, 7, -9, 99, -0.0f}, {4}, 1, 0};
  const std::vector<uint16_t> of_range{0, 0, 2, 2, 14, 14, 15, 0, 15, 0},
      of_scale{0, 0, 2, 8, 8, 10, 15, 0, 15, 8};
  for (const auto& [sample, expected] : {std::pair{range, of_range}, {scale, of_scale}}) {
    expect_comes_back(sample);
    std::vector<uint16_t> levels(10);
    unpack_levels(sample.layout, Coding::bits, sample.packed(Coding::bits), levels.data());
    EXPECT_EQ(levels, expected);
  }
}

TEST(PackedTensor, WeightsOutsideAClippedRangeAndManyAtItsEnds) {
  Sample sample = random_sample(9001, 4, LevelGrid::range, 0, 3);
  sample.low = -0.05f;
  sample.high = 0.07f;
  for (size_t i = 0; i < sample.weights.size(); i += 3) sample.weights[i] = i % 2 == 0 ? -0.05f : 0.07f;
  expect_comes_back(sample);
}

TEST(PackedTensor, AConstantOneIsHeldExactly) {
  for (const float value : {0.1f, -3e-39f, 1e30f, 0.0f, -0.0f}) {
    for (const int64_t numel : {1, 5000}) {
      SCOPED_TRACE(testing::Message() << numel << " times " << value);
      Sample sample = random_sample(numel, 3, LevelGrid::range, 0, 4);
      std::ranges::fill(sample.weights, value);
      sample.low = sample.high = value;
      expect_comes_back(sample);
    }
  }
}

TEST(PackedTensor, WhatIsNotANumberGetsALevel) {
  for (const LevelGrid kind : {LevelGrid::range, LevelGrid::scale}) {
    Sample sample = random_sample(100, 100, kind, 5, 5);
    sample.weights[7] = std::nanf("");
    for (const Coding coding : {Coding::bits, Coding::zstd}) {
      const std::vector<float> weights = unpacked(sample.layout, coding, sample.packed(coding));
      EXPECT_EQ(weights[7], kind == LevelGrid::range ? sample.low : -16 * sample.low);
      EXPECT_EQ(weights[8], sample.evaluated(8)) << "others don't mind";
    }
  }
}

TEST(PackedTensor, ZstdIsTakenWhereItIsShorter) {
  for (const int width : {1, 2, 3, 5, 8, 12, 15}) {
    SCOPED_TRACE(width);
    Sample sample{{20'000, 8, LevelGrid::range}, {}, std::vector<uint8_t>(2500, static_cast<uint8_t>(width))};
    sample.high = Grid::top_of(width);
    std::mt19937 random(6);
    for (const uint16_t level : random_numbers(20'000, width, random)) sample.weights.push_back(level);
    EXPECT_EQ(sample.packed(Coding::zstd).size(), sample.packed(Coding::bits).size() + 1)
        << "random levels fall back, at the price of one byte";
    for (size_t i = 0; i < sample.weights.size(); ++i) {
      if (i % 50 != 0) sample.weights[i] = std::exp2(static_cast<float>(width - 1));
    }
    EXPECT_LT(4 * sample.packed(Coding::zstd).size(),
              (width <= 8 ? 2 : 4) * sample.packed(Coding::bits).size())
        << "skewed ones get shorter, but for the lower bits of wide levels";
    expect_comes_back(sample);
  }
}

/// What is written must be read, also where two widths together shrink beyond what is plausible of one.
TEST(PackedTensor, ManyEqualLevelsOfTwoWidthsComeBack) {
  const int64_t each = 4 << 20, numel = 3 * each;
  const std::vector<float> ones(static_cast<size_t>(numel), 1.0f);
  const Sample sample{{numel, each, LevelGrid::range}, ones, {1, 1, 2}, 0, 1};
  EXPECT_EQ(unpacked(sample.layout, Coding::zstd, sample.packed(Coding::zstd)), ones);
}

TEST(PackedTensor, IsTheSameOnAnyNumberOfThreads) {
  const int before = omp_get_max_threads();
  for (const LevelGrid kind : {LevelGrid::range, LevelGrid::scale}) {
    for (const int width : {0, 11}) {
      const Sample sample = random_sample(100'003, 8, kind, width, 8);
      for (const Coding coding : {Coding::bits, Coding::zstd}) {
        omp_set_num_threads(1);
        const std::vector<uint8_t> bytes = sample.packed(coding);
        const std::vector<float> weights = unpacked(sample.layout, coding, bytes);
        omp_set_num_threads(2);
        EXPECT_EQ(sample.packed(coding), bytes);
        EXPECT_EQ(as_bits(unpacked(sample.layout, coding, bytes)), as_bits(weights));
      }
    }
  }
  omp_set_num_threads(before);
}

}  // namespace
}  // namespace diffq
