// What comes out of open_data: splits, normalisation and augmentation, the latter against a second
// implementation with tensor operations.

#include <ATen/ATen.h>
#include <ATen/core/PhiloxRNGEngine.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>
#include <numeric>

#include "datasets/dataset.h"
#include "datasets/idx.h"
#include "datasets/loader.h"
#include "tests/support/idx_files.h"

namespace diffq {
namespace {

std::vector<int64_t> counting(int64_t count) {
  std::vector<int64_t> indices(count);
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return indices;
}

// The pictures of a file as doubles in 0 … 1, [n, c, h, w].
at::Tensor raw_pictures(const std::filesystem::path& file) {
  IdxFile idx = read_idx(file.string(), std::array{3, 4});
  if (idx.dims.size() == 3) idx.dims.insert(idx.dims.begin() + 1, 1);
  return at::from_blob(idx.bytes.data(), idx.dims, at::kByte).to(at::kDouble).div(255.0);
}

class Images : public ::testing::Test {
 protected:
  DataSpec make(const IdxSetSpec& set, int64_t valid) {
    write_idx_set(folder_.path(), set);
    DataSpec spec;
    spec.name = DataName::idx;
    spec.root = folder_.path().string();
    spec.valid_samples = valid;
    return spec;
  }
  at::Tensor raw(const std::string& name) const { return raw_pictures(folder_.path() / name); }

  TemporaryFolder folder_;
};

TEST_F(Images, NormalisationOfAHandWrittenSet) {
  // Training pixels 0, 0, 255, 255 after the held-out one is left aside: mean 1/2, standard deviation 1/2.
  write_idx_file(folder_.path() / "train-images-idx3-ubyte", {3, 1, 2},
                 std::array<uint8_t, 6>{0, 255, 255, 0, 51, 102}, false);
  write_idx_file(folder_.path() / "train-labels-idx1-ubyte", {3}, std::array<uint8_t, 3>{0, 2, 1}, false);
  write_idx_file(folder_.path() / "t10k-images-idx3-ubyte.gz", {1, 1, 2}, std::array<uint8_t, 2>{255, 0},
                 true);
  write_idx_file(folder_.path() / "t10k-labels-idx1-ubyte", {1}, std::array<uint8_t, 1>{2}, false);
  DataSpec spec;
  spec.name = DataName::idx;
  spec.root = folder_.path().string();
  spec.valid_samples = 1;
  const DataSplits splits = open_data(spec);
  EXPECT_EQ(std::get<ImageShape>(splits.shape).classes, 3);
  const Batch train = splits.train->batch(std::array<int64_t, 3>{1, 0, 1}, std::nullopt);
  EXPECT_TRUE(at::equal(train.input.flatten(), at::tensor({1.F, -1.F, -1.F, 1.F, 1.F, -1.F})));
  EXPECT_TRUE(at::equal(train.target, at::tensor({2, 0, 2}, at::kLong)));
  const Batch valid = splits.valid->batch(std::array<int64_t, 1>{0}, std::nullopt);
  EXPECT_TRUE(at::allclose(valid.input.flatten(), at::tensor({-0.6F, -0.2F}), 0, 1e-7));
  EXPECT_TRUE(at::equal(valid.target, at::tensor({1}, at::kLong)));
  EXPECT_TRUE(at::equal(splits.test->batch(std::array<int64_t, 1>{0}, std::nullopt).input.flatten(),
                        at::tensor({1.F, -1.F})));
}

TEST_F(Images, SplitsAndLimits) {
  DataSpec spec =
      make({.train = 40, .test = 20, .height = 5, .width = 7, .channels = 3, .classes = 7, .gzip = true}, 10);
  spec.train_samples = 25;
  spec.test_samples = 15;
  const DataSummary summary = check_data(spec);
  const DataSplits splits = open_data(spec);
  for (const ImageShape& shape : {std::get<ImageShape>(summary.shape), std::get<ImageShape>(splits.shape)}) {
    EXPECT_EQ(shape.channels, 3);
    EXPECT_EQ(shape.height, 5);
    EXPECT_EQ(shape.width, 7);
    EXPECT_EQ(shape.classes, 7);
  }
  EXPECT_EQ(summary.train, 25);
  EXPECT_EQ(summary.valid, 10);
  EXPECT_EQ(summary.test, 15);
  EXPECT_EQ(splits.train->size(), 25);
  EXPECT_EQ(splits.valid->size(), 10);
  EXPECT_EQ(splits.test->size(), 15);

  // Mean and standard deviation of each channel over the 25 alone; all else is expressed in them.
  const at::Tensor train = raw("train-images-idx4-ubyte.gz"), test = raw("t10k-images-idx4-ubyte.gz");
  const at::Tensor used = train.narrow(0, 0, 25);
  const at::Tensor mean = used.mean(at::IntArrayRef{0, 2, 3}, true);
  const at::Tensor deviation = used.std(at::IntArrayRef{0, 2, 3}, /*unbiased=*/false, true);
  const auto expect_pictures = [&](const Dataset& data, const at::Tensor& pictures, int64_t first_label) {
    const Batch batch = data.batch(counting(data.size()), std::nullopt);
    EXPECT_EQ(batch.input.scalar_type(), at::kFloat);
    EXPECT_TRUE(at::allclose(batch.input.to(at::kDouble), (pictures - mean) / deviation, 1e-6, 1e-6));
    EXPECT_TRUE(at::equal(batch.target, (at::arange(data.size(), at::kLong) + first_label).remainder(7)));
  };
  expect_pictures(*splits.train, used, 0);
  expect_pictures(*splits.valid, train.narrow(0, 30, 10), 30);
  expect_pictures(*splits.test, test.narrow(0, 0, 15), 0);
  EXPECT_THROW(splits.train->batch(std::array<int64_t, 1>{25}, std::nullopt), std::runtime_error);
  EXPECT_THROW(splits.train->batch(std::array<int64_t, 1>{-1}, std::nullopt), std::runtime_error);
}

TEST_F(Images, PicturesOfOneGreyAreFinite) {
  DataSpec spec = make({.train = 4, .test = 4}, 1);
  write_idx_file(folder_.path() / "train-images-idx3-ubyte", {4, 12, 12}, std::vector<uint8_t>(4 * 144, 51),
                 false);
  const DataSplits splits = open_data(spec);
  EXPECT_TRUE(at::equal(splits.train->batch(std::array<int64_t, 1>{0}, std::nullopt).input,
                        at::zeros({1, 1, 12, 12})));
}

// The choices and the picture once more, with nothing of the code under test: five words of Philox, then
// tensors.
at::Tensor slow_augmented(const at::Tensor& picture, double black, const AugmentSpec& spec,
                          const AugmentKey& key, int64_t sample) {
  at::Philox4_32 random(key.seed ^ 0x6175676d656e74ULL, static_cast<uint64_t>(sample),
                        2 * static_cast<uint64_t>(key.epoch));
  const auto below = [&](int64_t bound) {
    return static_cast<int64_t>(
        std::floor(std::ldexp(static_cast<double>(random()), -32) * static_cast<double>(bound)));
  };
  const int64_t height = picture.size(1), width = picture.size(2), s = spec.shift;
  const int64_t crop_height = spec.crop ? spec.crop : height, crop_width = spec.crop ? spec.crop : width;
  const int64_t down = below(2 * s + 1) - s, right = below(2 * s + 1) - s;
  const int64_t top = below(height - crop_height + 1), left = below(width - crop_width + 1);
  at::Tensor result = at::constant_pad_nd(picture, {s, s, s, s}, black);
  result = result.narrow(1, s - down, height).narrow(2, s - right, width);
  result = result.narrow(1, top, crop_height).narrow(2, left, crop_width);
  if (spec.flip && random() >= 0x80000000U) result = result.flip({2});
  return result;
}

TEST_F(Images, AugmentationAgreesWithTensorOperations) {
  DataSpec spec = make({.train = 30, .test = 3, .height = 9, .width = 11, .channels = 2}, 5);
  const at::Tensor pictures = open_data(spec).train->batch(counting(25), std::nullopt).input;
  const at::Tensor train = raw("train-images-idx4-ubyte").narrow(0, 0, 25);
  const at::Tensor black = -train.mean(at::IntArrayRef{0, 2, 3}) / train.std(at::IntArrayRef{0, 2, 3}, false);
  for (const AugmentSpec& augment :
       {AugmentSpec{0, 0, false}, AugmentSpec{2, 0, false}, AugmentSpec{0, 6, false}, AugmentSpec{0, 0, true},
        AugmentSpec{3, 7, true}, AugmentSpec{8, 1, true}}) {
    spec.augment = augment;
    const DataSplits splits = open_data(spec);
    for (const AugmentKey& key : {AugmentKey{1, 0}, AugmentKey{1, 1}, AugmentKey{uint64_t{1} << 40, 500}}) {
      const at::Tensor got = splits.train->batch(counting(25), key).input;
      EXPECT_EQ(got.size(2), std::get<ImageShape>(splits.shape).height);
      EXPECT_EQ(got.size(3), std::get<ImageShape>(splits.shape).width);
      for (int64_t i = 0; i < 25; ++i) {
        for (int64_t c = 0; c < 2; ++c) {
          const at::Tensor slow =
              slow_augmented(pictures[i].narrow(0, c, 1), black[c].item<double>(), augment, key, i);
          ASSERT_TRUE(at::allclose(got[i].narrow(0, c, 1), slow, 1e-6, 1e-6)) << i << " " << augment.shift;
        }
      }
    }
  }
}

TEST_F(Images, EvaluationCutsTheCentre) {
  DataSpec spec = make({.train = 8, .test = 3, .height = 9, .width = 10}, 2);
  const at::Tensor whole = open_data(spec).test->batch(counting(3), std::nullopt).input;
  spec.augment = {2, 6, true};
  const DataSplits splits = open_data(spec);
  EXPECT_EQ(std::get<ImageShape>(check_data(spec).shape).width, 6);
  EXPECT_TRUE(
      at::equal(splits.test->batch(counting(3), std::nullopt).input, whole.narrow(2, 1, 6).narrow(3, 2, 6)));
}

TEST_F(Images, AugmentationDependsOnSeedEpochAndSampleAlone) {
  DataSpec spec = make({.train = 64, .test = 4}, 4);
  spec.augment = {2, 10, true};
  const DataSplits splits = open_data(spec);
  const AugmentKey key{7, 3};
  const at::Tensor all = splits.train->batch(counting(60), key).input;
  // Other batches, another order, by several threads.
  for (const int workers : {1, 3}) {
    Loader loader(*splits.train, training_batches(60, 15, 3, 1, 2, 0, 1), key, workers, 2);
    const auto batches = training_batches(60, 15, 3, 1, 2, 0, 1);
    for (const auto& samples : batches) {
      const auto batch = loader.next();
      for (size_t i = 0; i < samples.size(); ++i) {
        ASSERT_TRUE(at::equal(batch->input[static_cast<int64_t>(i)], all[samples[i]]));
      }
    }
  }
  // Other epochs and seeds: nearly all samples (of 25 shifts, 9 crops and 2 flips) look different.
  for (const AugmentKey& other : {AugmentKey{7, 4}, AugmentKey{8, 3}}) {
    const at::Tensor changed = splits.train->batch(counting(60), other).input;
    EXPECT_GE((changed != all).flatten(1).any(1).sum().item<int64_t>(), 50);
  }
}

TEST_F(Images, AllShiftsAndFlipsAreEquallyFrequent) {
  // A single white pixel in the middle of 5 x 5, off centre so that a flip shows: its place tells the choice.
  std::vector<uint8_t> pixels(25);
  pixels[2 * 5 + 1] = 255;
  std::vector<uint8_t> two = pixels;
  two.insert(two.end(), pixels.begin(), pixels.end());
  make({.train = 2, .test = 1, .height = 5, .width = 5, .classes = 1}, 1);
  write_idx_file(folder_.path() / "train-images-idx3-ubyte", {2, 5, 5}, two, false);
  DataSpec spec;
  spec.name = DataName::idx;
  spec.root = folder_.path().string();
  spec.valid_samples = 1;
  spec.augment = {1, 0, true};
  const DataSplits splits = open_data(spec);
  std::map<int64_t, int> places;
  constexpr int kEpochs = 9000;
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    const Batch batch = splits.train->batch(std::array<int64_t, 1>{0}, AugmentKey{1, epoch});
    ++places[batch.input.argmax().item<int64_t>()];
  }
  // Rows 1-3; columns 0-2 unflipped, 2-4 flipped: column 2 twice as often. Expected 500 and 1000 (deviations
  // 22, 30).
  ASSERT_EQ(places.size(), 15U);
  for (const auto& [place, count] : places) {
    EXPECT_NEAR(count, place % 5 == 2 ? 1000 : 500, place % 5 == 2 ? 120 : 90) << place;
    EXPECT_GE(place / 5, 1);
    EXPECT_LE(place / 5, 3);
  }
}

}  // namespace
}  // namespace diffq
