#pragma once
// Which part of a picture a sample shows. Shifting, cropping and flipping are one window on the picture,
// chosen by Philox as a function of (seed, epoch, sample) alone.

#include <cstdint>

#include "datasets/data_spec.h"
#include "datasets/dataset.h"

namespace diffq {

/// Pixel (y, x) that comes out is pixel (top + y, left + x) of the picture, black outside of it; then, when
/// mirrored, left and right change places.
struct Window {
  int64_t top = 0, left = 0;
  bool mirrored = false;
};

/// Training. Each of the spec's parts has draws of its own: switching one off leaves the others as they were.
Window training_window(const AugmentSpec& spec, int64_t height, int64_t width, const AugmentKey& key,
                       int64_t sample);
/// Evaluation: the centre; of an odd margin the smaller half is above and to the left.
Window central_window(const AugmentSpec& spec, int64_t height, int64_t width);

}  // namespace diffq
