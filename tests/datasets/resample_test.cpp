#include "datasets/resample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace diffq {
namespace {

Bitmap noise(int64_t width, int64_t height, uint32_t seed) {
  std::mt19937 random(seed);
  Bitmap bitmap;
  bitmap.resize(width, height);
  for (uint8_t& byte : bitmap.bytes)
    byte = static_cast<uint8_t>(random() % 3 == 0 ? random() : 255 * (random() % 2));
  return bitmap;
}

// The definition, in two dimensions at once: a pixel that comes out is the mean of those around its centre,
// weighted with a triangle on each axis.
double expected(const Bitmap& from, const Box& box, int64_t width, int64_t height, int64_t x, int64_t y,
                int c) {
  const double step_x = box.width / static_cast<double>(width),
               step_y = box.height / static_cast<double>(height);
  const double centre_x = box.left + (static_cast<double>(x) + 0.5) * step_x;
  const double centre_y = box.top + (static_cast<double>(y) + 0.5) * step_y;
  double sum = 0, weights = 0;
  for (int64_t v = 0; v < from.height; ++v) {
    const double down = 1 - std::abs(static_cast<double>(v) + 0.5 - centre_y) / std::max(step_y, 1.0);
    for (int64_t u = 0; u < from.width && down > 0; ++u) {
      const double across = 1 - std::abs(static_cast<double>(u) + 0.5 - centre_x) / std::max(step_x, 1.0);
      if (across <= 0) continue;
      sum += across * down * from.row(v)[4 * u + c];
      weights += across * down;
    }
  }
  return sum / weights;
}

TEST(Resample, IsTheWeightedMean) {
  std::mt19937 random(1);
  const auto below = [&](double bound) { return random() * 0x1p-32 * bound; };
  for (uint32_t trial = 0; trial < 60; ++trial) {
    const int64_t w = 1 + static_cast<int64_t>(random() % 70), h = 1 + static_cast<int64_t>(random() % 70);
    const Bitmap from = noise(w, h, trial);
    Box box{0, 0, static_cast<double>(w), static_cast<double>(h)};
    if (trial % 3 != 0) {
      box.left = below(box.width / 2);
      box.width = box.width - box.left - below(box.width / 3);
      box.top = below(box.height / 2);
      box.height = box.height - box.top - below(box.height / 3);
    }
    const int64_t width = 1 + static_cast<int64_t>(random() % 40),
                  height = 1 + static_cast<int64_t>(random() % 40);
    Bitmap to;
    resample(from, box, width, height, to);
    ASSERT_EQ(to.width, width);
    ASSERT_EQ(to.height, height);
    for (int64_t y = 0; y < height; ++y) {
      for (int64_t x = 0; x < width; ++x) {
        for (int c = 0; c < 3; ++c)
          ASSERT_NEAR(to.row(y)[4 * x + c], expected(from, box, width, height, x, y, c), 0.8)
              << w << " x " << h << " to " << width << " x " << height;
      }
    }
  }
}

TEST(Resample, ToItsOwnSizeChangesNothing) {
  const Bitmap from = noise(33, 21, 4);
  Bitmap to;
  resample(from, {0, 0, 33, 21}, 33, 21, to);
  EXPECT_EQ(to.bytes, from.bytes);
}

TEST(Resample, OfOneColourIsThatColour) {
  for (const int value : {0, 1, 127, 254, 255}) {
    Bitmap from, to;
    from.resize(300, 200);
    std::fill(from.bytes.begin(), from.bytes.end(), static_cast<uint8_t>(value));
    for (const int64_t side : {7, 64, 199, 224, 401}) {
      resample(from, {3.3, 2.7, 290.1, 195.2}, side, side, to);
      EXPECT_EQ(std::ranges::count(to.bytes, static_cast<uint8_t>(value)), 4 * side * side)
          << value << " " << side;
    }
  }
}

}  // namespace
}  // namespace diffq
