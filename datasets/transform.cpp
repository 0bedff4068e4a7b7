#include "datasets/transform.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "datasets/pixel_lanes.h"

namespace diffq {
namespace {

struct Linear {
  static constexpr int kTaps = 2;
  static PixelLanes between(const PixelLanes* v, float d) { return v[0] + (v[1] - v[0]) * d; }
};

// The cubic through v[1] and v[2] with the slopes v[2] - v[0] and v[3] - v[1] there.
struct Cubic {
  static constexpr int kTaps = 4;
  static PixelLanes between(const PixelLanes* v, float d) {
    return v[1] + d * (v[2] - v[0] + d * (2 * (v[0] - v[1]) + v[2] - v[3] + d * (v[1] - v[0] + v[3] - v[2])));
  }
};

// Pixels around (x, y), those at the edge standing for what is beyond it.
template <class Curve>
PixelLanes sample(const Bitmap& from, double x, double y) {
  constexpr int kTaps = Curve::kTaps;
  const double left = std::floor(x - 0.5), top = std::floor(y - 0.5);
  const auto column = static_cast<int64_t>(left) - (kTaps / 2 - 1);
  const auto line = static_cast<int64_t>(top) - (kTaps / 2 - 1);
  const auto across = static_cast<float>(x - 0.5 - left), down = static_cast<float>(y - 0.5 - top);
  PixelLanes rows[kTaps];
  for (int k = 0; k < kTaps; ++k) {
    const uint8_t* row = from.row(std::clamp<int64_t>(line + k, 0, from.height - 1));
    PixelLanes values[kTaps];
    for (int i = 0; i < kTaps; ++i)
      values[i] = load_pixel(row + 4 * std::clamp<int64_t>(column + i, 0, from.width - 1));
    rows[k] = Curve::between(values, across);
  }
  return Curve::between(rows, down);
}

template <class Curve>
void transform_by(const Bitmap& from, const Affine& map, const std::array<uint8_t, 3>& fill, Bitmap& to) {
  const auto width = static_cast<double>(from.width), height = static_cast<double>(from.height);
  for (int64_t y = 0; y < to.height; ++y) {
    uint8_t* pixel = to.row(y);
    for (int64_t x = 0; x < to.width; ++x, pixel += 4) {
      const double column = static_cast<double>(x) + 0.5, line = static_cast<double>(y) + 0.5;
      const double from_x = map.a * column + map.b * line + map.c;
      const double from_y = map.d * column + map.e * line + map.f;
      if (from_x >= 0 && from_x < width && from_y >= 0 && from_y < height) {
        store_pixel(sample<Curve>(from, from_x, from_y), pixel);
      } else {
        std::copy(fill.begin(), fill.end(), pixel);
      }
    }
  }
}

}  // namespace

Affine rotation(double degrees, int64_t width, int64_t height) {
  const double angle = -degrees * std::numbers::pi / 180, cosine = std::cos(angle), sine = std::sin(angle);
  const double x = static_cast<double>(width) / 2, y = static_cast<double>(height) / 2;
  return {cosine, sine, x - cosine * x - sine * y, -sine, cosine, y + sine * x - cosine * y};
}

void transform(const Bitmap& from, const Affine& map, Interpolation interpolation,
               const std::array<uint8_t, 3>& fill, Bitmap& to) {
  to.resize(from.width, from.height);
  if (interpolation == Interpolation::bicubic) {
    transform_by<Cubic>(from, map, fill, to);
  } else {
    transform_by<Linear>(from, map, fill, to);
  }
}

}  // namespace diffq
