// What comes out of a folder of class folders of JPEG files: splits, samples, and files that can't be
// decoded.

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <set>

#include "datasets/class_folders.h"
#include "datasets/dataset.h"
#include "datasets/loader.h"
#include "datasets/warning.h"
#include "tests/support/idx_files.h"
#include "tests/support/jpeg_files.h"

namespace diffq {
namespace {

namespace fs = std::filesystem;

std::vector<int64_t> counting(int64_t count) {
  std::vector<int64_t> indices(count);
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return indices;
}

Batch all_of(const Dataset& data, const std::optional<AugmentKey>& augment = std::nullopt) {
  return data.batch(counting(data.size()), augment);
}

std::map<int64_t, int64_t> class_counts(const Dataset& data) {
  std::map<int64_t, int64_t> counts;
  const at::Tensor target = all_of(data).target;
  for (int64_t i = 0; i < data.size(); ++i) ++counts[target[i].item<int64_t>()];
  return counts;
}

class ImageNet : public ::testing::Test {
 protected:
  ImageNet() {
    setenv("XDG_CACHE_HOME", (folder_.path() / "cache").c_str(), 1);
    set_data_warning([&](const std::string& text) { warnings_.push_back(text); });
    spec_.name = DataName::imagenet;
    spec_.root = root_.string();
    spec_.valid_samples = 6;
    spec_.photos.resize = 40;
    spec_.photos.crop = 32;
  }
  ~ImageNet() override {
    set_data_warning({});
    unsetenv("XDG_CACHE_HOME");
  }

  std::string file(const std::string& name) const { return (root_ / name).string(); }

  void expect_error(const std::vector<std::string>& parts) const {
    for (const bool open : {false, true}) {
      try {
        open ? void(open_data(spec_)) : void(check_data(spec_));
        ADD_FAILURE() << "no error that says '" << parts.front() << "'";
      } catch (const std::invalid_argument& error) {
        for (const std::string& part : parts)
          EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      }
    }
  }

  TemporaryFolder folder_;
  fs::path root_ = folder_.path() / "photos";
  DataSpec spec_;
  std::vector<std::string> warnings_;
};

TEST_F(ImageNet, SplitsHoldEveryClassAlike) {
  write_jpeg_folders(root_, {.classes = 3, .train = 8, .val = 4});
  fs::remove(root_ / "train/class_1/7.jpg");
  fs::remove(root_ / "train/class_1/6.jpg");
  const DataSummary summary = check_data(spec_);
  EXPECT_EQ(summary.train, 16);
  EXPECT_EQ(summary.valid, 6);
  EXPECT_EQ(summary.test, 12);
  EXPECT_EQ(std::get<ImageShape>(summary.shape).channels, 3);
  EXPECT_EQ(std::get<ImageShape>(summary.shape).height, 32);
  EXPECT_EQ(std::get<ImageShape>(summary.shape).width, 32);
  EXPECT_EQ(std::get<ImageShape>(summary.shape).classes, 3);
  const DataSplits splits = open_data(spec_);
  using Counts = std::map<int64_t, int64_t>;
  EXPECT_EQ(class_counts(*splits.valid), (Counts{{0, 2}, {1, 2}, {2, 2}}));
  EXPECT_EQ(class_counts(*splits.train), (Counts{{0, 6}, {1, 4}, {2, 6}}));
  EXPECT_EQ(class_counts(*splits.test), (Counts{{0, 4}, {1, 4}, {2, 4}}));
  spec_.train_samples = 9;
  spec_.test_samples = 3;
  const DataSplits few = open_data(spec_);
  for (const auto& [label, count] : class_counts(*few.train)) EXPECT_NEAR(count, 3, 1) << label;
  EXPECT_EQ(class_counts(*few.test), (Counts{{0, 1}, {1, 1}, {2, 1}}));
  // No picture is in both parts, and all are in one.
  std::set<float> seen;
  for (const auto& part : {splits.train, splits.valid}) {
    const at::Tensor sums = all_of(*part).input.abs().sum({1, 2, 3});
    for (int64_t i = 0; i < part->size(); ++i) EXPECT_TRUE(seen.insert(sums[i].item<float>()).second);
  }
  EXPECT_EQ(seen.size(), 22u);
}

TEST_F(ImageNet, IsNormalised) {
  write_jpeg_folders(root_, {.classes = 1, .train = 8, .val = 1});
  const at::Tensor input = all_of(*open_data(spec_).test).input;
  const at::Tensor mean = at::tensor({0.485, 0.456, 0.406}).view({1, 3, 1, 1}),
                   deviation = at::tensor({0.229, 0.224, 0.225}).view({1, 3, 1, 1});
  const at::Tensor bytes = (input.to(at::kDouble) * deviation + mean) * 255;
  EXPECT_LT((bytes - bytes.round()).abs().max().item<double>(), 1e-4);
  EXPECT_GE(bytes.min().item<double>(), -1e-4);
  EXPECT_LE(bytes.max().item<double>(), 255 + 1e-4);
  EXPECT_GT(bytes.std().item<double>(), 20);
}

TEST_F(ImageNet, SameBatchesForAnyWorkersRanksAndCompany) {
  write_jpeg_folders(root_);
  const DataSplits splits = open_data(spec_);
  const Dataset& data = *splits.train;
  const AugmentKey key{4, 3};
  const Batch all = all_of(data, key);
  for (int64_t i = 0; i < data.size(); ++i)
    EXPECT_TRUE(at::equal(data.batch(std::array{i}, key).input[0], all.input[i]));
  for (const int workers : {1, 2, 5}) {
    for (const int ranks : {1, 2, 3}) {
      for (int rank = 0; rank < ranks; ++rank) {
        const auto batches = training_batches(data.size(), 6, 1, 4, 3, rank, ranks);
        Loader loader(data, batches, key, workers);
        for (const auto& samples : batches) {
          const Batch batch = loader.next().value();
          for (size_t i = 0; i < samples.size(); ++i) {
            ASSERT_TRUE(at::equal(batch.input[i], all.input[samples[i]]));
            ASSERT_TRUE(at::equal(batch.target[i], all.target[samples[i]]));
          }
        }
      }
    }
  }
  EXPECT_TRUE(at::equal(all_of(*open_data(spec_).train, key).input, all.input));
  EXPECT_FALSE(at::equal(all_of(data, AugmentKey{4, 2}).input, all.input));
  EXPECT_FALSE(at::equal(all_of(data, AugmentKey{5, 3}).input, all.input));
  EXPECT_TRUE(warnings_.empty());
}

// Memory is used again, but never while a batch is held.
TEST_F(ImageNet, BatchesKeepTheirPixels) {
  write_jpeg_folders(root_);
  Batch held, copy;
  {
    const DataSplits splits = open_data(spec_);
    held = all_of(*splits.test);
    copy = {held.input.clone(), held.target.clone()};
    for (int64_t i = 0; i < 5; ++i) all_of(*splits.test, AugmentKey{1, i});
  }
  EXPECT_TRUE(at::equal(held.input, copy.input));
}

TEST_F(ImageNet, MirroringIsMirroring) {
  write_jpeg_folders(root_);
  spec_.photos.random_resized_crop = false;
  const DataSplits splits = open_data(spec_);
  const at::Tensor straight = all_of(*splits.train).input,
                   augmented = all_of(*splits.train, AugmentKey{1, 1}).input;
  int mirrored = 0;
  for (int64_t i = 0; i < splits.train->size(); ++i) {
    const bool same = at::equal(augmented[i], straight[i]);
    EXPECT_TRUE(same || at::equal(augmented[i], straight[i].flip(2)));
    mirrored += !same;
  }
  EXPECT_GT(mirrored, 3);
  EXPECT_LT(mirrored, 15);
}

TEST_F(ImageNet, TheFingerprintIsOfNamesSizesAndContent) {
  write_jpeg_folders(root_);
  const std::string before = fingerprint(spec_);
  EXPECT_EQ(fingerprint(spec_), before);
  fs::copy(root_, folder_.path() / "copy", fs::copy_options::recursive);
  DataSpec copy = spec_;
  copy.root = (folder_.path() / "copy").string();
  EXPECT_EQ(fingerprint(copy), before) << "the folder's own name does not count";
  fs::rename(file("train/class_0/1.jpg"), file("train/class_0/one.jpg"));
  EXPECT_NE(fingerprint(spec_), before);
  fs::rename(file("train/class_0/one.jpg"), file("train/class_0/1.jpg"));
  EXPECT_EQ(fingerprint(spec_), before);
  for (const char* part : {"train", "val"}) fs::rename(root_ / part / "class_1", root_ / part / "class_1b");
  EXPECT_NE(fingerprint(spec_), before);
  for (const char* part : {"train", "val"}) fs::rename(root_ / part / "class_1b", root_ / part / "class_1");
  std::vector<uint8_t> bytes = jpeg_bytes({.seed = 1});
  bytes[bytes.size() / 2] ^= 1;
  write_bytes(file("train/class_0/0.jpg"), bytes);  // the same size
  EXPECT_NE(fingerprint(spec_), before);
}

TEST_F(ImageNet, WhatCantBeDecodedIsReportedOnceAndReplaced) {
  write_jpeg_folders(root_);
  const at::Tensor before = all_of(*open_data(spec_).train).input;
  const std::vector<uint8_t> whole = jpeg_bytes({});
  write_bytes(file("train/class_0/2.jpg"), {});
  write_bytes(file("train/class_1/3.jpg"), std::span(whole).first(whole.size() / 2));
  write_bytes(file("train/class_1/4.jpg"), std::array<uint8_t, 8>{0x89, 'P', 'N', 'G', 13, 10, 26, 10});
  set_back_times(root_);
  spec_.max_corrupt = 3;
  const DataSplits splits = open_data(spec_);
  for (const auto& part : {splits.train, splits.valid}) {
    for (int round = 0; round < 2; ++round) {
      const Batch batch = all_of(*part);
      EXPECT_TRUE(at::equal(all_of(*part).input, batch.input));
    }
  }
  std::ranges::sort(warnings_);
  ASSERT_EQ(warnings_.size(), 3u);
  EXPECT_EQ(warnings_[0],
            file("train/class_0/2.jpg") + ": is empty; another picture of its class takes its place");
  EXPECT_TRUE(warnings_[1].starts_with(file("train/class_1/3.jpg") + ": is cut short")) << warnings_[1];
  EXPECT_TRUE(warnings_[2].starts_with(file("train/class_1/4.jpg") + ": is not a JPEG file")) << warnings_[2];
  // The others are what they were, those three are others of their class.
  const at::Tensor after = all_of(*splits.train).input;
  int64_t changed = 0;
  for (int64_t i = 0; i < splits.train->size(); ++i) changed += !at::equal(after[i], before[i]);
  EXPECT_LE(changed, 3);
  EXPECT_EQ(class_counts(*splits.train), (std::map<int64_t, int64_t>{{0, 6}, {1, 6}, {2, 6}}));
}

TEST_F(ImageNet, TooManyThatCantBeDecodedAreAnError) {
  write_jpeg_folders(root_);
  for (const std::string name : {"0", "1", "2"}) write_bytes(file("val/class_0/" + name + ".jpg"), {});
  set_back_times(root_);
  spec_.max_corrupt = 2;
  const DataSplits splits = open_data(spec_);
  Loader loader(*splits.test, evaluation_batches(12, 12, 0, 1), std::nullopt, 2);
  try {
    loader.next();
    ADD_FAILURE() << "no error";
  } catch (const std::runtime_error& error) {
    const std::string text = error.what();
    EXPECT_TRUE(text.starts_with(file("val/class_0/"))) << text;
    EXPECT_NE(text.find("one of 3 files that can't be decoded, and data.max_corrupt allows 2"),
              std::string::npos)
        << text;
  }
  EXPECT_EQ(warnings_.size(), 2u);
  spec_.max_corrupt = 4;
  write_bytes(file("val/class_0/3.jpg"), {});
  set_back_times(root_);
  const DataSplits again = open_data(spec_);
  EXPECT_THROW(all_of(*again.test), std::runtime_error) << "a class without any";
}

TEST_F(ImageNet, AFileThatIsGoneOrOfAnotherSizeIsAnError) {
  write_jpeg_folders(root_);
  const DataSplits splits = open_data(spec_);
  const auto error_of = [&]() -> std::string {
    try {
      all_of(*splits.test);
      return "";
    } catch (const std::runtime_error& error) {
      return error.what();
    }
  };
  const std::vector<uint8_t> longer(100'000);
  write_bytes(file("val/class_2/1.jpg"), longer);
  EXPECT_TRUE(error_of().starts_with(file("val/class_2/1.jpg") + ": has 100000 bytes, but had"))
      << error_of();
  fs::remove(file("val/class_2/1.jpg"));
  EXPECT_TRUE(error_of().starts_with(file("val/class_2/1.jpg") + ": can't be read")) << error_of();
}

TEST_F(ImageNet, WhatIsAskedForMustBeThere) {
  write_jpeg_folders(root_);
  spec_.valid_samples = 24;
  expect_error({"data.valid_samples: 24 samples can't be held out of the 24 in " + file("train")});
  spec_.valid_samples = 6;
  spec_.test_samples = 13;
  expect_error({"data.test_samples: 13 samples were asked for, but there are 12 in " + file("val")});
  spec_.test_samples = 0;
  spec_.photos.crop = 41;
  expect_error({"data.augment.crop: 41 is more than data.augment.resize, 40"});
  spec_.photos.crop = 0;
  expect_error({"data.augment.crop: 0 is below 1"});
  spec_.photos.crop = 40;
  spec_.max_corrupt = -1;
  expect_error({"data.max_corrupt: -1 is negative"});
}

TEST_F(ImageNet, NoneThatIsAJpegFileIsAnError) {
  write_jpeg_folders(root_);
  for (const auto& entry : fs::recursive_directory_iterator(root_)) {
    if (entry.is_regular_file()) write_bytes(entry.path(), std::array<uint8_t, 4>{'G', 'I', 'F', '8'});
  }
  expect_error(
      {file("train/class_0/0.jpg") + ": is not a JPEG file; none of 36 files looked at can be decoded"});
}

TEST_F(ImageNet, AllKindsOfFilesGoThroughAtAllScales) {
  JpegFolderSpec set{.classes = 1, .train = 7, .val = 8};
  set.form = {.width = 611, .height = 467};
  write_jpeg_folders(root_, set);
  int orientation = 1;
  for (const JpegColour colour : {JpegColour::grey, JpegColour::rgb, JpegColour::cmyk, JpegColour::ycck}) {
    for (const bool progressive : {false, true}) {
      write_bytes(file("val/class_0/" + std::to_string(orientation - 1) + ".jpg"),
                  jpeg_bytes({.width = 611,
                              .height = 467,
                              .colour = colour,
                              .progressive = progressive,
                              .orientation = orientation}));
      ++orientation;
    }
  }
  set_back_times(root_);
  for (const int64_t crop : {16, 48, 100, 224, 400}) {
    spec_.photos.resize = spec_.photos.crop = crop;
    const DataSplits splits = open_data(spec_);
    for (int64_t epoch = 0; epoch < 3; ++epoch)
      EXPECT_TRUE(all_of(*splits.test, AugmentKey{1, epoch}).input.isfinite().all().item<bool>());
    EXPECT_TRUE(all_of(*splits.test).input.isfinite().all().item<bool>());
  }
  EXPECT_TRUE(warnings_.empty());
}

}  // namespace
}  // namespace diffq
