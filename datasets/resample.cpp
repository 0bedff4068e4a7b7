#include "datasets/resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace diffq {
namespace {

// Values are held as 16 bits, 8 of them below the point, weights as 16 bits below the point: their product's
// upper half is the value again. Rounded down, so that a sum of products never exceeds 255: less than 1/32 of
// a grey level is lost. Whole numbers, so the same on every machine.
using Fixed = uint16_t;
constexpr int kHalf = 128;

inline Fixed times(Fixed value, Fixed weight) {
  return static_cast<Fixed>((uint32_t{value} * uint32_t{weight}) >> 16);
}

// Along one axis, pixel i that comes out is the sum of weights[taps * i + k] times pixel first[i] + k.
struct Filter {
  int64_t taps;  ///< even, the same for all i; first[i] + taps may exceed the limit, with weights of 0 there
  std::vector<int64_t> first;
  std::vector<Fixed> weights;
};

Filter triangle_filter(double begin, double length, int64_t pixels, int64_t limit) {
  const double scale = length / static_cast<double>(pixels), reach = std::max(scale, 1.0);
  Filter filter{(static_cast<int64_t>(std::ceil(2 * reach)) + 1) / 2 * 2, {}, {}};
  filter.first.reserve(pixels);
  filter.weights.resize(pixels * filter.taps);
  Fixed* weights = filter.weights.data();
  for (int64_t i = 0; i < pixels; ++i, weights += filter.taps) {
    const double centre = begin + (static_cast<double>(i) + 0.5) * scale;
    const auto first =
        std::clamp<int64_t>(static_cast<int64_t>(std::floor(centre - reach + 0.5)), 0, limit - 1);
    const int64_t taps = std::min(filter.taps, limit - first);
    const auto weight = [&](int64_t k) {
      return std::max(0.0, 1 - std::abs(static_cast<double>(first + k) + 0.5 - centre) / reach);
    };
    double sum = 0;
    for (int64_t k = 0; k < taps; ++k) sum += weight(k);
    // Each ends where the sum so far does, so that all together are 1.
    double so_far = 0;
    int64_t given = 0;
    for (int64_t k = 0; k < taps; ++k) {
      so_far += weight(k);
      const auto end = std::min<int64_t>(std::lround(so_far / sum * 65536), 65535);
      weights[k] = static_cast<Fixed>(end - given);
      given = end;
    }
    filter.first.push_back(first);
  }
  return filter;
}

// Two rows at a time, over bytes.
void add_rows(const uint8_t* first, const uint8_t* second, const Fixed* weights, int64_t count, Fixed* sum) {
  const Fixed a = weights[0], b = weights[1];
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    sum[i] = static_cast<Fixed>(sum[i] + times(static_cast<Fixed>(first[i] << 8), a) +
                                times(static_cast<Fixed>(second[i] << 8), b));
  }
}

using Lanes = Fixed __attribute__((vector_size(16)));  // two pixels of four

inline Lanes times(const Fixed* values, const Fixed* weights) {
  Fixed products[8];
#pragma omp simd
  for (int i = 0; i < 8; ++i) products[i] = times(values[i], weights[i]);
  Lanes lanes;
  std::memcpy(&lanes, products, sizeof lanes);
  return lanes;
}

// `weights` holds each of the filter's four times.
void along_row(const Filter& filter, const Fixed* weights, const Fixed* from, Fixed* to) {
  for (const int64_t first : filter.first) {
    Lanes sum{};
    const Fixed* pixels = from + 4 * first;
    for (int64_t k = 0; k < filter.taps; k += 2, pixels += 8, weights += 8) sum += times(pixels, weights);
    sum += __builtin_shuffle(sum, Lanes{4, 5, 6, 7, 0, 1, 2, 3});
    std::memcpy(to, &sum, 4 * sizeof(Fixed));
    to += 4;
  }
}

void to_bytes(const Fixed* from, int64_t count, uint8_t* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<uint8_t>((from[i] + kHalf) >> 8);
}

}  // namespace

double resample_reach(Interpolation interpolation, double length, int64_t pixels) {
  const double wide = std::max(length / static_cast<double>(pixels), 1.0);
  return interpolation == Interpolation::bicubic ? 2 * wide : wide;
}

void resample(const Bitmap& from, const Box& box, int64_t width, int64_t height, Bitmap& to) {
  const Filter across = triangle_filter(box.left, box.width, width, from.width);
  const Filter down = triangle_filter(box.top, box.height, height, from.height);
  std::vector<Fixed> lanes(4 * across.weights.size());
  for (size_t i = 0; i < lanes.size(); ++i) lanes[i] = across.weights[i / 4];
  std::vector<Fixed> row(4 * (from.width + across.taps)), out(4 * width);
  to.resize(width, height);
  for (int64_t y = 0; y < height; ++y) {
    std::fill(row.begin(), row.end(), Fixed{0});
    for (int64_t k = 0; k < down.taps; k += 2) {
      const int64_t first = down.first[y] + k;
      if (first < from.height) {
        add_rows(from.row(first), from.row(std::min(first + 1, from.height - 1)),
                 &down.weights[down.taps * y + k], 4 * from.width, row.data());
      }
    }
    along_row(across, lanes.data(), row.data(), out.data());
    to_bytes(out.data(), 4 * width, to.row(y));
  }
}

}  // namespace diffq
