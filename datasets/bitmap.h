#pragma once
// Pixels in memory, and parts of a picture.

#include <cstdint>
#include <vector>

namespace diffq {

/// Whole pixels [left, left + width) x [top, top + height).
struct Rect {
  int64_t left = 0, top = 0, width = 0, height = 0;
};

/// A part of a picture at any place; pixel (y, x) covers [x, x + 1) x [y, y + 1).
struct Box {
  double left = 0, top = 0, width = 0, height = 0;
};

/// Red, green, blue and one unused byte a pixel, row by row. Made once and used for many pictures.
struct Bitmap {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> bytes;

  void resize(int64_t to_width, int64_t to_height) {
    width = to_width;
    height = to_height;
    bytes.resize(4 * width * height);
  }
  uint8_t* row(int64_t y) { return bytes.data() + 4 * width * y; }
  const uint8_t* row(int64_t y) const { return bytes.data() + 4 * width * y; }
};

}  // namespace diffq
