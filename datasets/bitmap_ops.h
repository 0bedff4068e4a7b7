#pragma once
// Changes of a picture's colours in place, as Pillow's ImageOps and ImageEnhance define them. Of the fourth
// byte of a pixel they may make anything.

#include "datasets/bitmap.h"

namespace diffq {

void mirror(Bitmap& pixels);  ///< left and right change places

void invert(Bitmap& pixels);
/// Each channel is stretched so that its darkest value becomes 0 and its lightest 255.
void auto_contrast(Bitmap& pixels);
/// Each channel's values are spread so that all are about as frequent.
void equalize(Bitmap& pixels);
/// Values of `threshold` (0 to 256) and above are inverted.
void solarize(Bitmap& pixels, int threshold);
/// Values below 128 grow by `amount`.
void solarize_add(Bitmap& pixels, int amount);
/// The upper `bits` bits (0 to 8) of each value are kept.
void posterize(Bitmap& pixels, int bits);

/// Factor 1 changes nothing, below 1 there is less of it, above more: of colour against the pixel's own grey,
void enhance_color(Bitmap& pixels, float factor);
/// of contrast against the mean grey of the picture,
void enhance_contrast(Bitmap& pixels, float factor);
/// of light against black,
void enhance_brightness(Bitmap& pixels, float factor);
/// of sharpness against the smoothed picture.
void enhance_sharpness(Bitmap& pixels, float factor, Bitmap& room);

}  // namespace diffq
