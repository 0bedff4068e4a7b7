#pragma once
// Antialiased resampling, as in Pillow: bilinear (a triangle as wide as two pixels of what comes out, or of
// what goes in where that is larger) and bicubic (a curve twice as wide). Bilinear is equal to Pillow's but
// for its rounding between the two directions.

#include "datasets/bitmap.h"
#include "datasets/data_spec.h"

namespace diffq {

/// `box` of `from` becomes width x height pixels. Pixels around the box have their part near its edges; to
/// leave them out, give `from` without them. The box must lie within `from`, whose sides are at least 1.
void resample(const Bitmap& from, const Box& box, int64_t width, int64_t height, Bitmap& to);

/// The same; `room` is for rows in between.
void resample_bicubic(const Bitmap& from, const Box& box, int64_t width, int64_t height, Bitmap& room,
                      Bitmap& to);

/// How far from `box` there are pixels that have a part when `length` becomes `pixels`.
double resample_reach(Interpolation interpolation, double length, int64_t pixels);

}  // namespace diffq
