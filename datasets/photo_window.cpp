#include "datasets/photo_window.h"

#include <ATen/core/PhiloxRNGEngine.h>

#include <algorithm>
#include <cmath>

namespace diffq {
namespace {

constexpr uint64_t kPhotoTag = 0x70686f746f;  // "photo": keeps these draws apart from others of the same seed
constexpr double kLeastArea = 0.08, kNarrowest = 3.0 / 4, kWidest = 4.0 / 3;
constexpr int kTries = 10;
constexpr uint64_t kBlocksAnEpoch = 16;  // of four words: one for the flip, one a try

// Uniform in [0, 1).
double draw(at::Philox4_32& random) { return random() * 0x1p-32; }

int64_t draw_below(at::Philox4_32& random, int64_t bound) {
  return static_cast<int64_t>((uint64_t{random()} * static_cast<uint64_t>(bound)) >> 32);
}

int64_t rounded(double value) { return static_cast<int64_t>(std::nearbyint(value)); }

Box box_of(int64_t left, int64_t top, int64_t width, int64_t height) {
  return {static_cast<double>(left), static_cast<double>(top), static_cast<double>(width),
          static_cast<double>(height)};
}

// As much of the centre as has a shape that is allowed.
Box fallback(int64_t width, int64_t height) {
  const double shape = static_cast<double>(width) / static_cast<double>(height);
  int64_t w = width, h = height;
  if (shape < kNarrowest) h = rounded(static_cast<double>(w) / kNarrowest);
  if (shape > kWidest) w = rounded(static_cast<double>(h) * kWidest);
  return box_of((width - w) / 2, (height - h) / 2, w, h);
}

Box random_box(int64_t width, int64_t height, at::Philox4_32& random) {
  const double area = static_cast<double>(width) * static_cast<double>(height);
  for (int i = 0; i < kTries; ++i) {
    const double part = area * (kLeastArea + (1 - kLeastArea) * draw(random));
    const double shape =
        std::exp(std::log(kNarrowest) + (std::log(kWidest) - std::log(kNarrowest)) * draw(random));
    const int64_t w = rounded(std::sqrt(part * shape)), h = rounded(std::sqrt(part / shape));
    const bool fits = 0 < w && w <= width && 0 < h && h <= height;
    const int64_t top = draw_below(random, fits ? height - h + 1 : 1);
    const int64_t left = draw_below(random, fits ? width - w + 1 : 1);
    if (fits) return box_of(left, top, w, h);
  }
  return fallback(width, height);
}

}  // namespace

PhotoWindow training_window(const PhotoSpec& spec, int64_t height, int64_t width, const AugmentKey& key,
                            int64_t sample) {
  at::Philox4_32 random(key.seed ^ kPhotoTag, static_cast<uint64_t>(sample),
                        kBlocksAnEpoch * static_cast<uint64_t>(key.epoch));
  const bool mirrored = spec.flip && draw_below(random, 2) == 1;
  if (!spec.random_resized_crop) {
    PhotoWindow window = central_window(spec, height, width);
    window.mirrored = mirrored;
    return window;
  }
  at::Philox4_32 tries(key.seed ^ kPhotoTag, static_cast<uint64_t>(sample),
                       kBlocksAnEpoch * static_cast<uint64_t>(key.epoch) + 1);
  return {random_box(width, height, tries), true, mirrored};
}

PhotoWindow central_window(const PhotoSpec& spec, int64_t height, int64_t width) {
  const int64_t shorter = std::min(width, height);
  // One axis, of `length` pixels of which `resized` are made: where the crop begins and what it spans.
  const auto span = [&](int64_t length) {
    const int64_t resized = spec.resize * length / shorter;
    const double scale = static_cast<double>(length) / static_cast<double>(resized);
    return std::pair{scale * static_cast<double>(rounded(static_cast<double>(resized - spec.crop) / 2)),
                     scale * static_cast<double>(spec.crop)};
  };
  const auto [left, box_width] = span(width);
  const auto [top, box_height] = span(height);
  return {{left, top, box_width, box_height}, false, false};
}

}  // namespace diffq
