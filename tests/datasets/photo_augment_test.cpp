// RandAugment, random erasing and repeated augmentation: what is drawn how often, closed forms, and the same
// samples for any workers and ranks. Operations are compared with timm's in compare_with_timm.py.

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <array>
#include <cmath>
#include <map>
#include <numeric>

#include "datasets/bitmap_ops.h"
#include "datasets/loader.h"
#include "datasets/order.h"
#include "datasets/rand_augment.h"
#include "datasets/random_erasing.h"
#include "datasets/transform.h"
#include "tests/support/idx_files.h"
#include "tests/support/jpeg_files.h"

namespace diffq {
namespace {

constexpr int64_t kDraws = 30000;

// Each pixel another colour.
Bitmap colours(int64_t width, int64_t height) {
  Bitmap pixels;
  pixels.resize(width, height);
  for (size_t i = 0; i < pixels.bytes.size(); ++i)
    pixels.bytes[i] = i % 4 == 3 ? uint8_t{0} : static_cast<uint8_t>(37 * i + i / 11);
  return pixels;
}

std::array<uint8_t, 3> pixel(const Bitmap& pixels, int64_t x, int64_t y) {
  const uint8_t* at = pixels.row(y) + 4 * x;
  return {at[0], at[1], at[2]};
}

TEST(RandAugment, DrawsTwoOfFifteenEachHalfOfTheTime) {
  std::map<AugmentKind, int> count;
  std::array<int, 3> done{};
  for (int64_t sample = 0; sample < kDraws; ++sample) {
    int here = 0;
    for (const auto& op : draw_augment_ops(9, {3, 2}, sample)) {
      if (!op) continue;
      ++here;
      ++count[op->kind];
    }
    ++done[here];
  }
  // Four standard deviations: none, one or both; then 2000 of each kind.
  EXPECT_NEAR(done[0], kDraws / 4, 300);
  EXPECT_NEAR(done[1], kDraws / 2, 350);
  EXPECT_NEAR(done[2], kDraws / 4, 300);
  ASSERT_EQ(count.size(), 15U);
  for (const auto& [kind, n] : count) EXPECT_NEAR(n, 2000, 180) << static_cast<int>(kind);
}

// Levels are N(9, 0.5²), cut at 10: of 30 degrees a mean of 27 - 0.0127 and 2.3 % at the most.
TEST(RandAugment, MagnitudesVaryAroundTheOneAskedFor) {
  int count = 0, negative = 0, most = 0;
  double sum = 0, squares = 0;
  for (int64_t sample = 0; sample < 20 * kDraws; ++sample) {
    for (const auto& op : draw_augment_ops(9, {3, 2}, sample)) {
      if (!op || op->kind != AugmentKind::rotate) continue;
      const double degrees = std::abs(op->argument);
      ++count;
      negative += op->argument < 0;
      most += degrees == 30;
      sum += degrees;
      squares += (degrees - 27) * (degrees - 27);
    }
  }
  EXPECT_NEAR(count, 20 * kDraws / 15, 800);
  EXPECT_NEAR(static_cast<double>(negative) / count, 0.5, 0.01);
  EXPECT_NEAR(static_cast<double>(most) / count, 0.02275, 0.003);
  // E[min(z, 2)] = -0.00849, E[min(z, 2)²] = 0.942 (of a level: times 0.5 x 3 degrees).
  EXPECT_NEAR(sum / count, 27 - 1.5 * 0.00849, 0.03);
  EXPECT_NEAR(std::sqrt(squares / count), 1.5 * std::sqrt(0.942), 0.03);
}

TEST(RandAugment, GrowsWithTheLevel) {
  EXPECT_EQ(augment_op(AugmentKind::rotate, 10, true).argument, -30);
  EXPECT_EQ(augment_op(AugmentKind::posterize, 9, false).argument, 1);
  EXPECT_EQ(augment_op(AugmentKind::posterize, 7.4, false).argument, 2);
  EXPECT_EQ(augment_op(AugmentKind::solarize, 9, false).argument, 26);
  EXPECT_EQ(augment_op(AugmentKind::solarize_add, 9, false).argument, 99);
  EXPECT_DOUBLE_EQ(augment_op(AugmentKind::color, 9, false).argument, 1.81);
  EXPECT_DOUBLE_EQ(augment_op(AugmentKind::color, 9, true).argument, 0.19);
  EXPECT_DOUBLE_EQ(augment_op(AugmentKind::sharpness, 10, true).argument, 0.1);
  EXPECT_DOUBLE_EQ(augment_op(AugmentKind::shear_y, 9, true).argument, -0.27);
  EXPECT_DOUBLE_EQ(augment_op(AugmentKind::translate_x, 9, false).argument, 0.405);
}

TEST(BitmapOps, ClosedForms) {
  const Bitmap before = colours(24, 17);
  Bitmap pixels = before, room;
  invert(pixels);
  EXPECT_EQ(pixel(pixels, 5, 3)[1], 255 - pixel(before, 5, 3)[1]);
  invert(pixels);
  mirror(pixels);
  for (int64_t x = 0; x < 24; ++x) EXPECT_EQ(pixel(pixels, x, 9), pixel(before, 23 - x, 9));
  for (const Interpolation interpolation : {Interpolation::bilinear, Interpolation::bicubic}) {
    const std::array<uint8_t, 3> fill{1, 2, 3};
    transform(before, {}, interpolation, fill, pixels);
    transform(before, {.c = 5, .f = -2}, interpolation, fill, room);
    for (int64_t y = 0; y < 17; ++y) {
      for (int64_t x = 0; x < 24; ++x) {
        EXPECT_EQ(pixel(pixels, x, y), pixel(before, x, y));
        const bool inside = x + 5 < 24 && y >= 2;
        EXPECT_EQ(pixel(room, x, y), inside ? pixel(before, x + 5, y - 2) : fill);
      }
    }
    // A quarter turn of a square.
    const Bitmap square = colours(20, 20);
    transform(square, rotation(90, 20, 20), interpolation, fill, room);
    for (int64_t y = 1; y < 19; ++y) {
      for (int64_t x = 1; x < 19; ++x) {
        for (int c = 0; c < 3; ++c) EXPECT_NEAR(pixel(room, x, y)[c], pixel(square, 19 - y, x)[c], 1);
      }
    }
  }
}

TEST(RandomErasing, BoxesLieWithinAndHaveTheirArea) {
  int count = 0;
  double area = 0, logarithm = 0;
  for (int64_t sample = 0; sample < kDraws; ++sample) {
    const auto box = draw_erased_box(0.25, 200, 300, {1, 4}, sample);
    if (!box) continue;
    ++count;
    ASSERT_GE(box->top, 0);
    ASSERT_GE(box->left, 0);
    ASSERT_LE(box->top + box->height, 200);
    ASSERT_LE(box->left + box->width, 300);
    const double part = static_cast<double>(box->width * box->height) / (200 * 300);
    ASSERT_GT(part, 0.019);
    ASSERT_LT(part, 0.335);
    area += part;
    logarithm += std::log(static_cast<double>(box->height) / static_cast<double>(box->width));
  }
  EXPECT_NEAR(count, kDraws / 4, 300);
  // What is left of uniform areas and shapes when those that do not fit are drawn again.
  double all = 0, expected_area = 0, expected_logarithm = 0;
  for (int i = 0; i < 400; ++i) {
    for (int k = 0; k < 400; ++k) {
      const double a = 0.02 + (1.0 / 3 - 0.02) * (i + 0.5) / 400,
                   l = std::log(0.3) * (2 * (k + 0.5) / 400 - 1);
      if (std::sqrt(a * 60000 * std::exp(l)) >= 199.5 || std::sqrt(a * 60000 / std::exp(l)) >= 299.5)
        continue;
      ++all;
      expected_area += a;
      expected_logarithm += l;
    }
  }
  EXPECT_NEAR(area / count, expected_area / all, 0.005);
  EXPECT_NEAR(logarithm / count, expected_logarithm / all, 0.035);
  EXPECT_LT(expected_logarithm / all, -0.02);
}

TEST(RandomErasing, FillsTheBoxWithNormalNoiseAndNothingElse) {
  const Rect box{30, 10, 60, 50};
  at::Tensor pixels = at::full({3, 80, 100}, 7.F), again = pixels.clone(), other = pixels.clone();
  erase(box, 3, 80, 100, {1, 2}, 5, pixels.mutable_data_ptr<float>());
  erase(box, 3, 80, 100, {1, 2}, 5, again.mutable_data_ptr<float>());
  erase(box, 3, 80, 100, {1, 2}, 6, other.mutable_data_ptr<float>());
  const auto inside = [&](const at::Tensor& all) { return all.slice(1, 10, 60).slice(2, 30, 90); };
  EXPECT_TRUE(at::equal(pixels, again));
  EXPECT_FALSE(at::equal(inside(pixels), inside(other)));
  const at::Tensor noise = inside(pixels).to(at::kDouble);
  EXPECT_NEAR(noise.mean().item<double>(), 0, 0.04);  // four standard deviations of 9000 draws
  EXPECT_NEAR(noise.std().item<double>(), 1, 0.03);
  EXPECT_NEAR(noise.pow(4).mean().item<double>(), 3, 0.42);
  EXPECT_FALSE(at::equal(noise[0], noise[1]));
  inside(pixels).fill_(7);
  EXPECT_TRUE(at::equal(pixels, at::full({3, 80, 100}, 7.F)));
}

std::vector<int64_t> counting(int64_t count) {
  std::vector<int64_t> indices(count);
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return indices;
}

class PhotoAugment : public ::testing::Test {
 protected:
  PhotoAugment() {
    setenv("XDG_CACHE_HOME", (folder_.path() / "cache").c_str(), 1);
    write_jpeg_folders(folder_.path() / "photos");
    spec_.name = DataName::imagenet;
    spec_.root = (folder_.path() / "photos").string();
    spec_.valid_samples = 6;
    spec_.photos.resize = 40;
    spec_.photos.crop = 32;
  }
  ~PhotoAugment() override { unsetenv("XDG_CACHE_HOME"); }

  // Training samples, all of them or these.
  at::Tensor train(std::vector<int64_t> samples = {}, const AugmentKey& key = {4, 3}) const {
    const DataSplits splits = open_data(spec_);
    if (samples.empty()) samples = counting(splits.train->size());
    return splits.train->batch(samples, key).input;
  }

  TemporaryFolder folder_;
  DataSpec spec_;
};

TEST_F(PhotoAugment, EachPartIsItsOwnAndTouchesTrainingAlone) {
  const at::Tensor plain = train(), test = open_data(spec_).test->batch({{0, 1, 2}}, std::nullopt).input;
  spec_.photos.random_erasing = 1;
  const at::Tensor erased = train();
  // Beyond the box the sample is as it was.
  const double same = plain.eq(erased).to(at::kDouble).mean().item<double>();
  EXPECT_GT(same, 0.66);
  EXPECT_LT(same, 0.95);
  for (int64_t i = 0; i < plain.size(0); ++i) EXPECT_FALSE(at::equal(plain[i], erased[i]));
  spec_.photos.random_erasing = 0;
  spec_.photos.rand_augment = 9;
  const at::Tensor augmented = train();
  int64_t unchanged = 0, none = 0;
  for (int64_t i = 0; i < plain.size(0); ++i) {
    const auto ops = draw_augment_ops(9, {4, 3}, i);
    none += !ops[0] && !ops[1];
    unchanged += at::equal(plain[i], augmented[i]);
  }
  EXPECT_GT(none, 0);
  EXPECT_GE(unchanged, none);
  EXPECT_LE(unchanged, none + 2);  // some operations may change nothing
  spec_.photos.random_erasing = 1;
  EXPECT_TRUE(at::equal(open_data(spec_).test->batch({{0, 1, 2}}, std::nullopt).input, test));
}

TEST_F(PhotoAugment, CopiesOfASampleAreAugmentedByThemselves) {
  const at::Tensor copies = train({2, 2 + kCopyStride, 2 + 2 * kCopyStride, 2});
  EXPECT_TRUE(at::equal(copies[0], copies[3]));
  EXPECT_FALSE(at::equal(copies[0], copies[1]));
  EXPECT_FALSE(at::equal(copies[1], copies[2]));
  const DataSplits splits = open_data(spec_);
  const std::vector<int64_t> indices{2, 2 + kCopyStride, 2 + 2 * kCopyStride};
  const at::Tensor labels = splits.train->batch(indices, AugmentKey{4, 3}).target;
  EXPECT_TRUE(labels.eq(labels[0]).all().item<bool>());
  EXPECT_THROW(splits.train->batch({{splits.train->size() + kCopyStride}}, AugmentKey{}), std::runtime_error);
}

TEST_F(PhotoAugment, TheWholeRecipeIsTheSameForAnyWorkersAndRanks) {
  spec_.photos.rand_augment = 9;
  spec_.photos.random_erasing = 0.5;
  spec_.photos.interpolation = Interpolation::bicubic;
  const DataSplits splits = open_data(spec_);
  const Dataset& data = *splits.train;
  const AugmentKey key{4, 3};
  // One at a time, in the order of the global batches.
  const auto order = repeated_order(data.size(), 4, 3, 3, 6);
  std::vector<at::Tensor> expected;
  for (const int64_t sample : order) expected.push_back(data.batch({&sample, 1}, key).input[0]);
  for (const int workers : {1, 3}) {
    for (const int ranks : {1, 2, 3}) {
      for (int rank = 0; rank < ranks; ++rank) {
        Loader loader(data, training_batches(data.size(), 6, 1, 4, 3, rank, ranks, 0, 3), key, workers);
        for (int64_t step = 0; step < data.size() / 6; ++step) {
          const at::Tensor input = loader.next().value().input;
          ASSERT_EQ(input.size(0), 6 / ranks);
          for (int64_t i = 0; i < input.size(0); ++i)
            ASSERT_TRUE(at::equal(input[i], expected[6 * step + rank * 6 / ranks + i]));
        }
      }
    }
  }
}

}  // namespace
}  // namespace diffq
