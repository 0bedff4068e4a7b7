#pragma once
// Antialiased bilinear resampling (a triangle as wide as two pixels of what comes out, or of what goes in
// where that is larger), as in Pillow; in float, so equal to its results but for its rounding between the two
// directions.

#include "datasets/bitmap.h"

namespace diffq {

/// `box` of `from` becomes width x height pixels. Pixels around the box have their part near its edges; to
/// leave them out, give `from` without them. The box must lie within `from`, whose sides are at least 1.
void resample(const Bitmap& from, const Box& box, int64_t width, int64_t height, Bitmap& to);

/// How far from `box` there are pixels that have a part when `length` becomes `pixels`.
double resample_reach(double length, int64_t pixels);

}  // namespace diffq
