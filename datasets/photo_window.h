#pragma once
// Which part of a photo a sample shows, as torchvision's RandomResizedCrop and, in evaluation, Resize and
// CenterCrop define it.

#include "datasets/bitmap.h"
#include "datasets/data_spec.h"
#include "datasets/dataset.h"

namespace diffq {

struct PhotoWindow {
  Box box;                ///< becomes crop x crop pixels
  bool bounded = false;   ///< pixels beyond the box have no part in it
  bool mirrored = false;  ///< then left and right change places
};

/// A function of (seed, epoch, sample) and of the photo's size; flip has draws of its own.
PhotoWindow training_window(const PhotoSpec& spec, int64_t height, int64_t width, const AugmentKey& key,
                            int64_t sample);
PhotoWindow central_window(const PhotoSpec& spec, int64_t height, int64_t width);

}  // namespace diffq
