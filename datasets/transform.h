#pragma once
// Moves a picture's pixels by an affine map, as Pillow's Image.transform and Image.rotate do.

#include <array>

#include "datasets/bitmap.h"
#include "datasets/data_spec.h"

namespace diffq {

/// Pixel (x, y) that comes out is what `from` has at (a (x + 1/2) + b (y + 1/2) + c, d … e … f); outside of
/// it, `fill`.
struct Affine {
  double a = 1, b = 0, c = 0, d = 0, e = 1, f = 0;
};
/// The turn by so many degrees against the clock, about the centre.
Affine rotation(double degrees, int64_t width, int64_t height);
void transform(const Bitmap& from, const Affine& map, Interpolation interpolation,
               const std::array<uint8_t, 3>& fill, Bitmap& to);

}  // namespace diffq
