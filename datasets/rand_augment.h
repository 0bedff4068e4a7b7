#pragma once
// RandAugment as DeiT and timm use it ("rand-m9-mstd0.5-inc1"; arXiv:1909.13719): two operations drawn from
// fifteen, each done with probability 1/2, at a magnitude drawn around the one that is asked for. On the
// 8-bit pixels of the finished crop, which is what the operations are defined on.

#include <array>
#include <optional>

#include "datasets/bitmap.h"
#include "datasets/dataset.h"

namespace diffq {

enum class AugmentKind {
  auto_contrast,
  equalize,
  invert,
  rotate,
  posterize,
  solarize,
  solarize_add,
  color,
  contrast,
  brightness,
  sharpness,
  shear_x,
  shear_y,
  translate_x,
  translate_y
};
inline constexpr int kAugmentKinds = 15;

struct AugmentOp {
  AugmentKind kind{};
  double argument = 0;  ///< degrees, bits, threshold, amount, factor, slope or part of the side; else unused
};

/// The argument grows with the level (0 to 10) away from no change, half of the time to the other side where
/// there is one.
AugmentOp augment_op(AugmentKind kind, double level, bool negative);

/// What the sample gets, in order. A function of (seed, epoch, sample) alone.
std::array<std::optional<AugmentOp>, 2> draw_augment_ops(double magnitude, const AugmentKey& key,
                                                         int64_t sample);

/// Where geometry leaves pixels empty they get the mean colour of ImageNet. `room` is for intermediate
/// pictures.
void apply_augment_op(const AugmentOp& op, Interpolation interpolation, Bitmap& pixels, Bitmap& room);

}  // namespace diffq
