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

// A picture as floats.
struct FloatPicture {
  int64_t width, height;
  std::vector<float> values;
};

// Pixels around (x, y), which is within the picture; those at its edge stand for what is beyond it.
template <class Curve>
PixelLanes sample(const FloatPicture& from, double x, double y) {
  constexpr int kTaps = Curve::kTaps;
  // The pixel whose centre is the next to the left, and above: rounded down, x and y not being negative.
  const auto left = static_cast<int64_t>(x + 0.5) - 1, top = static_cast<int64_t>(y + 0.5) - 1;
  const auto across = static_cast<float>(x - 0.5 - static_cast<double>(left));
  const auto down = static_cast<float>(y - 0.5 - static_cast<double>(top));
  int64_t columns[kTaps];
  for (int i = 0; i < kTaps; ++i)
    columns[i] = 4 * std::clamp<int64_t>(left - (kTaps / 2 - 1) + i, 0, from.width - 1);
  PixelLanes rows[kTaps];
  for (int k = 0; k < kTaps; ++k) {
    const int64_t line = std::clamp<int64_t>(top - (kTaps / 2 - 1) + k, 0, from.height - 1);
    const float* row = from.values.data() + 4 * from.width * line;
    PixelLanes values[kTaps];
    for (int i = 0; i < kTaps; ++i) values[i] = load_pixel(row + columns[i]);
    rows[k] = Curve::between(values, across);
  }
  return Curve::between(rows, down);
}

template <class Curve>
void transform_by(const FloatPicture& from, const Affine& map, const PixelLanes& fill, Bitmap& to) {
  const auto width = static_cast<double>(from.width), height = static_cast<double>(from.height);
  std::vector<float> out(4 * to.width);
  for (int64_t y = 0; y < to.height; ++y) {
    const double line = static_cast<double>(y) + 0.5;
    for (int64_t x = 0; x < to.width; ++x) {
      const double column = static_cast<double>(x) + 0.5;
      const double from_x = map.a * column + map.b * line + map.c;
      const double from_y = map.d * column + map.e * line + map.f;
      const bool inside = from_x >= 0 && from_x < width && from_y >= 0 && from_y < height;
      store_pixel(inside ? sample<Curve>(from, from_x, from_y) : fill, &out[4 * x]);
    }
    to_bytes(out.data(), 4 * to.width, to.row(y));
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
  static thread_local FloatPicture floats;  // fresh memory is mapped page by page
  floats.width = from.width;
  floats.height = from.height;
  floats.values.resize(from.bytes.size());
  to_floats(from.bytes.data(), static_cast<int64_t>(from.bytes.size()), floats.values.data());
  const PixelLanes colour{static_cast<float>(fill[0]), static_cast<float>(fill[1]),
                          static_cast<float>(fill[2])};
  to.resize(from.width, from.height);
  if (interpolation == Interpolation::bicubic) {
    transform_by<Cubic>(floats, map, colour, to);
  } else {
    transform_by<Linear>(floats, map, colour, to);
  }
}

}  // namespace diffq
