#include "datasets/rand_augment.h"

#include <ATen/core/PhiloxRNGEngine.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "datasets/bitmap_ops.h"
#include "datasets/transform.h"

namespace diffq {
namespace {

constexpr uint64_t kAugmentTag = 0x72616e64;  // "rand": keeps these draws apart from others of the same seed
constexpr uint64_t kBlocksAnEpoch = 4;        // of four words, of which ten are used
constexpr double kMostLevel = 10, kDeviation = 0.5;
constexpr std::array<uint8_t, 3> kMeanColour{124, 116, 104};

double draw(at::Philox4_32& random) { return (random() + 0.5) * 0x1p-32; }

double draw_normal(at::Philox4_32& random) {
  const double radius = std::sqrt(-2 * std::log(draw(random)));
  return radius * std::cos(2 * std::numbers::pi * draw(random));
}

}  // namespace

AugmentOp augment_op(AugmentKind kind, double level, bool negative) {
  const double part = level / kMostLevel;
  const auto either = [&](double value) { return negative ? -value : value; };
  switch (kind) {
    case AugmentKind::auto_contrast:
    case AugmentKind::equalize:
    case AugmentKind::invert:
      return {kind, 0};
    case AugmentKind::rotate:
      return {kind, either(part * 30)};
    case AugmentKind::posterize:
      return {kind, 4 - std::floor(part * 4)};
    case AugmentKind::solarize:
      return {kind, 256 - std::floor(part * 256)};
    case AugmentKind::solarize_add:
      return {kind, std::floor(part * 110)};
    case AugmentKind::color:
    case AugmentKind::contrast:
    case AugmentKind::brightness:
    case AugmentKind::sharpness:
      return {kind, std::max(0.1, 1 + either(part * 0.9))};
    case AugmentKind::shear_x:
    case AugmentKind::shear_y:
      return {kind, either(part * 0.3)};
    case AugmentKind::translate_x:
    case AugmentKind::translate_y:
      break;
  }
  return {kind, either(part * 0.45)};
}

std::array<std::optional<AugmentOp>, 2> draw_augment_ops(double magnitude, const AugmentKey& key,
                                                         int64_t sample) {
  at::Philox4_32 random(key.seed ^ kAugmentTag, static_cast<uint64_t>(sample),
                        kBlocksAnEpoch * static_cast<uint64_t>(key.epoch));
  std::array<std::optional<AugmentOp>, 2> ops;
  for (std::optional<AugmentOp>& op : ops) {
    const auto kind = static_cast<AugmentKind>(draw(random) * kAugmentKinds);
    const bool done = draw(random) < 0.5;
    const double level = std::clamp(magnitude + kDeviation * draw_normal(random), 0.0, kMostLevel);
    const bool negative = draw(random) < 0.5;
    if (done) op = augment_op(kind, level, negative);
  }
  return ops;
}

void apply_augment_op(const AugmentOp& op, Interpolation interpolation, Bitmap& pixels, Bitmap& room) {
  const double argument = op.argument;
  const auto factor = static_cast<float>(argument);
  const auto whole = static_cast<int>(argument);
  const auto move = [&](const Affine& map) {
    transform(pixels, map, interpolation, kMeanColour, room);
    std::swap(pixels, room);
  };
  switch (op.kind) {
    case AugmentKind::auto_contrast:
      return auto_contrast(pixels);
    case AugmentKind::equalize:
      return equalize(pixels);
    case AugmentKind::invert:
      return invert(pixels);
    case AugmentKind::rotate:
      return move(rotation(argument, pixels.width, pixels.height));
    case AugmentKind::posterize:
      return posterize(pixels, whole);
    case AugmentKind::solarize:
      return solarize(pixels, whole);
    case AugmentKind::solarize_add:
      return solarize_add(pixels, whole);
    case AugmentKind::color:
      return enhance_color(pixels, factor);
    case AugmentKind::contrast:
      return enhance_contrast(pixels, factor);
    case AugmentKind::brightness:
      return enhance_brightness(pixels, factor);
    case AugmentKind::sharpness:
      return enhance_sharpness(pixels, factor, room);
    case AugmentKind::shear_x:
      return move({.b = argument});
    case AugmentKind::shear_y:
      return move({.d = argument});
    case AugmentKind::translate_x:
      return move({.c = argument * static_cast<double>(pixels.width)});
    case AugmentKind::translate_y:
      return move({.f = argument * static_cast<double>(pixels.height)});
  }
}

}  // namespace diffq
