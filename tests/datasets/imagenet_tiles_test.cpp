// Real photos, where they were fetched: tiles of 20 of ImageNet.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <numeric>

#include "datasets/dataset.h"
#include "datasets/warning.h"

namespace diffq {
namespace {

// Mean and spread of each channel.
at::Tensor colours(const Dataset& data, at::Tensor& labels, const std::optional<AugmentKey>& augment) {
  std::vector<int64_t> samples(data.size());
  std::iota(samples.begin(), samples.end(), int64_t{0});
  const Batch batch = data.batch(samples, augment);
  labels = batch.target;
  const at::Tensor pixels = batch.input.flatten(2);
  return at::cat({pixels.mean(2), pixels.std(2)}, 1);
}

TEST(ImageNetTiles, ColoursAloneTellMoreThanChance) {
  const char* data = std::getenv("DIFFQ_DATA");
  const std::filesystem::path root =
      (data != nullptr && *data != '\0' ? std::filesystem::path(data)
                                        : std::filesystem::path(DIFFQ_SOURCE_DIR) / "data") /
      "imagenet_tiles";
  if (!std::filesystem::exists(root))
    GTEST_SKIP() << "no tiles in " << root << "; run scripts/fetch_data.sh imagenet_tiles";
  int warnings = 0;
  set_data_warning([&](const std::string&) { ++warnings; });
  DataSpec spec;
  spec.name = DataName::imagenet;
  spec.root = root.string();
  spec.valid_samples = 200;
  spec.photos.resize = 72;
  spec.photos.crop = 64;
  const DataSummary summary = check_data(spec);
  EXPECT_EQ(summary.train, 3164 - 200);
  EXPECT_EQ(summary.test, 294);
  EXPECT_EQ(std::get<ImageShape>(summary.shape).classes, 20);

  const DataSplits splits = open_data(spec);
  at::Tensor train_labels, test_labels, valid_labels;
  const at::Tensor train = colours(*splits.train, train_labels, AugmentKey{1, 0});
  const at::Tensor test = colours(*splits.test, test_labels, std::nullopt);
  const at::Tensor valid = colours(*splits.valid, valid_labels, std::nullopt);
  const at::Tensor held_out = at::bincount(valid_labels), all = held_out + at::bincount(train_labels);
  EXPECT_LE((held_out - all * (200.0 / 3164)).abs().max().item<double>(), 1) << "of every class its share";
  // The class of the nearest training sample.
  const auto accuracy = [&](const at::Tensor& features, const at::Tensor& labels) {
    return train_labels.index({at::cdist(features, train).argmin(1)})
        .eq(labels)
        .to(at::kDouble)
        .mean()
        .item<double>();
  };
  EXPECT_GT(accuracy(test, test_labels), 0.3);
  EXPECT_GT(accuracy(valid, valid_labels), 0.5);
  RecordProperty("test", std::to_string(accuracy(test, test_labels)));
  set_data_warning({});
  EXPECT_EQ(warnings, 0);
}

}  // namespace
}  // namespace diffq
