// Writes pictures and what each operation of RandAugment makes of them, for compare_with_timm.py:
//   augmented_pixels FOLDER
// N.picture_W_H: pixels; N.KIND.LEVEL.SIGN.INTERPOLATION: the result, KIND a number, SIGN 0 or 1 (negative).
// boxes: erased boxes of 224 x 224 pixels, four int64 each (top, left, height, width), all -1 for none.

#include <cstdio>
#include <fstream>

#include "datasets/rand_augment.h"
#include "datasets/random_erasing.h"
#include "tests/support/idx_files.h"
#include "tests/support/jpeg_files.h"

namespace {

using namespace diffq;

Bitmap picture_of(const JpegForm& form) {
  const std::vector<uint8_t> rgb = waves(form);
  Bitmap pixels;
  pixels.resize(form.width, form.height);
  for (size_t i = 0; i < pixels.bytes.size(); ++i)
    pixels.bytes[i] = i % 4 == 3 ? uint8_t{0} : rgb[i / 4 * 3 + i % 4];
  return pixels;
}

void write_pixels(const std::filesystem::path& file, const Bitmap& pixels) {
  std::vector<uint8_t> rgb;
  for (size_t i = 0; i < pixels.bytes.size(); ++i) {
    if (i % 4 != 3) rgb.push_back(pixels.bytes[i]);
  }
  write_bytes(file, rgb);
}

void write_results(const std::filesystem::path& folder, const std::string& name, const Bitmap& pixels) {
  write_pixels(
      folder / (name + ".picture_" + std::to_string(pixels.width) + '_' + std::to_string(pixels.height)),
      pixels);
  for (int kind = 0; kind < kAugmentKinds; ++kind) {
    for (const int level : {0, 3, 9, 10}) {
      for (const bool negative : {false, true}) {
        for (const auto& [word, interpolation] : kInterpolationNames) {
          Bitmap result = pixels, room;
          apply_augment_op(augment_op(static_cast<AugmentKind>(kind), level, negative), interpolation, result,
                           room);
          write_pixels(folder / (name + '.' + std::to_string(kind) + '.' + std::to_string(level) + '.' +
                                 std::to_string(negative) + '.' + std::string(word)),
                       result);
        }
      }
    }
  }
}

}  // namespace

int main(int, char** argv) {
  const std::filesystem::path folder = argv[1];
  write_results(folder, "waves", picture_of({.width = 97, .height = 64}));
  Bitmap dark = picture_of({.width = 64, .height = 64, .seed = 2});
  for (uint8_t& byte : dark.bytes) byte = static_cast<uint8_t>(20 + byte / 3);
  write_results(folder, "dark", dark);
  Bitmap flat = picture_of({.width = 40, .height = 56, .seed = 3});
  std::fill(flat.bytes.begin(), flat.bytes.end(), uint8_t{77});
  write_results(folder, "flat", flat);

  std::ofstream out(folder / "boxes", std::ios::binary);
  for (int64_t sample = 0; sample < 20000; ++sample) {
    std::array<int64_t, 4> row{-1, -1, -1, -1};
    if (const auto box = draw_erased_box(0.25, 224, 224, {5, 1}, sample))
      row = {box->top, box->left, box->height, box->width};
    out.write(reinterpret_cast<const char*>(row.data()), sizeof row);
  }
  return out.good() ? 0 : 1;
}
