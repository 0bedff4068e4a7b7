// The real thing, where it was fetched: known counts, sums and labels.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <span>

#include "datasets/dataset.h"
#include "datasets/idx.h"

namespace diffq {
namespace {

class Mnist : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* data = std::getenv("DIFFQ_DATA");
    const std::filesystem::path root =
        (data != nullptr && *data != '\0' ? std::filesystem::path(data)
                                          : std::filesystem::path(DIFFQ_SOURCE_DIR) / "data") /
        "mnist";
    if (!std::filesystem::exists(root))
      GTEST_SKIP() << "no MNIST in " << root << "; run scripts/setup.sh --data";
    spec_.name = DataName::mnist;
    spec_.root = root.string();
  }

  IdxFile read(const std::string& name) const {
    const std::array<int, 2> dimensions{1, 3};
    const std::string plain = spec_.root + "/" + name;
    return read_idx(std::filesystem::exists(plain) ? plain : plain + ".gz", dimensions);
  }

  DataSpec spec_;
};

TEST_F(Mnist, HasTheKnownContent) {
  const IdxFile images = read("train-images-idx3-ubyte");
  double sum = 0, squares = 0;
  for (const uint8_t byte : images.bytes) {
    sum += byte / 255.0;
    squares += byte / 255.0 * (byte / 255.0);
  }
  const double pixels = 60000.0 * 28 * 28;
  EXPECT_EQ(static_cast<double>(images.bytes.size()), pixels);
  EXPECT_NEAR(sum / pixels, 0.1307, 0.001);
  EXPECT_NEAR(std::sqrt(squares / pixels - sum / pixels * (sum / pixels)), 0.3081, 0.001);

  const IdxFile labels = read("train-labels-idx1-ubyte");
  EXPECT_EQ(std::vector<uint8_t>(labels.bytes.begin(), labels.bytes.begin() + 5),
            (std::vector<uint8_t>{5, 0, 4, 1, 9}));
  EXPECT_EQ(std::ranges::count(labels.bytes, 1), 6742);
  EXPECT_EQ(std::ranges::count(read("t10k-labels-idx1-ubyte").bytes, 0), 980);
}

TEST_F(Mnist, OpensAsAskedFor) {
  const DataSummary summary = check_data(spec_);
  EXPECT_EQ(summary.train, 50000);
  EXPECT_EQ(summary.valid, 10000);
  EXPECT_EQ(summary.test, 10000);
  const DataSplits splits = open_data(spec_);
  EXPECT_EQ(std::get<ImageShape>(splits.shape).channels, 1);
  EXPECT_EQ(std::get<ImageShape>(splits.shape).height, 28);
  EXPECT_EQ(std::get<ImageShape>(splits.shape).width, 28);
  EXPECT_EQ(std::get<ImageShape>(splits.shape).classes, 10);
  const Batch batch = splits.train->batch(std::array<int64_t, 5>{0, 1, 2, 3, 4}, std::nullopt);
  const std::span target(batch.target.const_data_ptr<int64_t>(), 5);
  EXPECT_EQ(std::vector<int64_t>(target.begin(), target.end()), (std::vector<int64_t>{5, 0, 4, 1, 9}));
  // The corner is black: -mean / std.
  EXPECT_NEAR(batch.input.const_data_ptr<float>()[0], -0.1307 / 0.3081, 0.003);
  EXPECT_EQ(fingerprint(spec_), fingerprint(spec_));
}

}  // namespace
}  // namespace diffq
