#include <algorithm>
#include <cmath>

#include "datasets/pixel_lanes.h"
#include "datasets/resample.h"

namespace diffq {
namespace {

constexpr double kReach = 2;  // of the curve, in pixels of what comes out or, where larger, goes in

// The cubic of Keys with a = -1/2.
double curve(double x) {
  x = std::abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return ((2.5 - 0.5 * x) * x - 4) * x + 2;
  return 0;
}

// Along one axis, pixel i that comes out is the sum of weights[taps * i + k] times pixel first[i] + k, for
// all k below count[i].
struct Filter {
  int64_t taps = 0;
  std::vector<int64_t> first, count;
  std::vector<float> weights;
};

Filter cubic_filter(double begin, double length, int64_t pixels, int64_t limit) {
  const double scale = length / static_cast<double>(pixels), wide = std::max(scale, 1.0);
  Filter filter;
  filter.taps = 2 * static_cast<int64_t>(std::ceil(kReach * wide)) + 1;
  filter.weights.resize(filter.taps * pixels);
  std::vector<double> weights(filter.taps);
  for (int64_t i = 0; i < pixels; ++i) {
    const double centre = begin + (static_cast<double>(i) + 0.5) * scale;
    const auto edge = [&](double at) {
      return std::clamp<int64_t>(static_cast<int64_t>(std::floor(at + 0.5)), 0, limit);
    };
    const int64_t first = std::min(edge(centre - kReach * wide), limit - 1);
    const int64_t count = std::clamp<int64_t>(edge(centre + kReach * wide) - first, 1, filter.taps);
    double sum = 0;
    for (int64_t k = 0; k < count; ++k)
      sum += weights[k] = curve((static_cast<double>(first + k) + 0.5 - centre) / wide);
    for (int64_t k = 0; k < count; ++k)
      filter.weights[filter.taps * i + k] = static_cast<float>(weights[k] / sum);
    filter.first.push_back(first);
    filter.count.push_back(count);
  }
  return filter;
}

void along_row(const Filter& filter, const float* from, float* to) {
  for (size_t i = 0; i < filter.first.size(); ++i, to += 4) {
    PixelLanes sum{0.5F, 0.5F, 0.5F, 0.5F};  // to the nearest
    const float* pixel = from + 4 * filter.first[i];
    const float* weights = &filter.weights[filter.taps * i];
    for (int64_t k = 0; k < filter.count[i]; ++k) sum += weights[k] * load_pixel(pixel + 4 * k);
    store_pixel(sum, to);
  }
}

void add_row(const uint8_t* row, float weight, int64_t count, float* sum) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) sum[i] += weight * static_cast<float>(row[i]);
}

}  // namespace

void resample_bicubic(const Bitmap& from, const Box& box, int64_t width, int64_t height, Bitmap& room,
                      Bitmap& to) {
  const Filter across = cubic_filter(box.left, box.width, width, from.width);
  const Filter down = cubic_filter(box.top, box.height, height, from.height);
  // As Pillow does, rows first, and bytes between the two directions: what shoots over is cut in both.
  room.resize(width, from.height);
  std::vector<float> row(4 * from.width), sum(4 * width);
  for (int64_t y = down.first.front(); y < down.first.back() + down.count.back(); ++y) {
    to_floats(from.row(y), 4 * from.width, row.data());
    along_row(across, row.data(), sum.data());
    to_bytes(sum.data(), 4 * width, room.row(y));
  }
  to.resize(width, height);
  for (int64_t y = 0; y < height; ++y) {
    std::fill(sum.begin(), sum.end(), 0.5F);
    for (int64_t k = 0; k < down.count[y]; ++k)
      add_row(room.row(down.first[y] + k), down.weights[down.taps * y + k], 4 * width, sum.data());
    to_bytes(sum.data(), 4 * width, to.row(y));
  }
}

}  // namespace diffq
