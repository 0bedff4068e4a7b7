#include "datasets/random_erasing.h"

#include <ATen/core/PhiloxRNGEngine.h>

#include <cmath>
#include <numbers>
#include <utility>

namespace diffq {
namespace {

// Keep these draws apart from others of the same seed, and from each other.
constexpr uint64_t kBoxTag = 0x6572617365, kNoiseTag = 0x6e6f697365;  // "erase", "noise"
constexpr double kLeastArea = 0.02, kMostArea = 1.0 / 3, kNarrowest = 0.3;
constexpr int kTries = 10;
constexpr uint64_t kBoxBlocks = 16;                   // an epoch, of four words: at most 41 words are used
constexpr uint64_t kNoiseBlocks = uint64_t{1} << 32;  // more than a picture has values

double draw(at::Philox4_32& random) { return (random() + 0.5) * 0x1p-32; }

}  // namespace

std::optional<Rect> draw_erased_box(double probability, int64_t height, int64_t width, const AugmentKey& key,
                                    int64_t sample) {
  at::Philox4_32 random(key.seed ^ kBoxTag, static_cast<uint64_t>(sample),
                        kBoxBlocks * static_cast<uint64_t>(key.epoch));
  if (draw(random) >= probability) return std::nullopt;
  const auto all = static_cast<double>(height * width);
  const auto below = [&](int64_t bound) {
    return static_cast<int64_t>(draw(random) * static_cast<double>(bound));
  };
  for (int i = 0; i < kTries; ++i) {
    const double area = all * (kLeastArea + (kMostArea - kLeastArea) * draw(random));
    const double ratio = std::pow(kNarrowest, 2 * draw(random) - 1);  // height over width
    const int64_t h = std::llround(std::sqrt(area * ratio)), w = std::llround(std::sqrt(area / ratio));
    const bool fits = h < height && w < width;
    const int64_t top = below(fits ? height - h + 1 : 1), left = below(fits ? width - w + 1 : 1);
    if (fits) return Rect{left, top, w, h};
  }
  return std::nullopt;
}

void erase(const Rect& box, int64_t channels, int64_t height, int64_t width, const AugmentKey& key,
           int64_t sample, float* pixels) {
  at::Philox4_32 random(key.seed ^ kNoiseTag, static_cast<uint64_t>(sample),
                        kNoiseBlocks * static_cast<uint64_t>(key.epoch));
  float spare = 0;
  bool has_spare = false;
  const auto normal = [&] {  // two at a time, by Box and Muller
    if (std::exchange(has_spare, !has_spare)) return spare;
    const double radius = std::sqrt(-2 * std::log(draw(random)));
    const double angle = 2 * std::numbers::pi * draw(random);
    spare = static_cast<float>(radius * std::sin(angle));
    return static_cast<float>(radius * std::cos(angle));
  };
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t y = box.top; y < box.top + box.height; ++y) {
      float* row = pixels + (c * height + y) * width + box.left;
      for (int64_t x = 0; x < box.width; ++x) row[x] = normal();
    }
  }
}

}  // namespace diffq
