#pragma once
// Random erasing as DeiT and timm use it (arXiv:1708.04896): a box of a training sample becomes noise. On
// normalised pixels, so that the noise, N(0, 1) for every value, has the spread of the data.

#include <optional>

#include "datasets/bitmap.h"
#include "datasets/dataset.h"

namespace diffq {

/// With this probability a box of 2 to 33 % of the picture's area, with sides of 0.3 : 1 to 1 : 0.3 (the
/// ratio's logarithm is uniform); ten boxes that do not fit within it leave it whole. A function of (seed,
/// epoch, sample) alone.
std::optional<Rect> draw_erased_box(double probability, int64_t height, int64_t width, const AugmentKey& key,
                                    int64_t sample);

/// `pixels`: [channels, height, width]. The same noise for the same (seed, epoch, sample).
void erase(const Rect& box, int64_t channels, int64_t height, int64_t width, const AugmentKey& key,
           int64_t sample, float* pixels);

}  // namespace diffq
