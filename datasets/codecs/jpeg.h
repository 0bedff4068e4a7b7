#pragma once
// JPEG through libjpeg-turbo: baseline and progressive, grey, colour, CMYK and YCCK, as the EXIF orientation
// has it shown. Only what is asked for is decoded, reduced where the discrete cosine transform can do so.

#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>

#include "datasets/bitmap.h"

namespace diffq {

/// What is wrong with a file, without its name.
struct JpegError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// More pixels than this are refused before memory is set aside (the largest picture of ImageNet has 61 M).
inline constexpr int64_t kMaxJpegPixels = 100'000'000;

class JpegReader {
 public:
  /// Reads the header. `bytes` must outlive the reader. Throws JpegError, also where the file ends before the
  /// picture does.
  explicit JpegReader(std::span<const uint8_t> bytes);
  ~JpegReader();

  int64_t width() const;  ///< as shown
  int64_t height() const;

  /// The smallest of 1/8, 1/4, 1/2 and 1 (in eighths) at which `box` still has at least width x height
  /// pixels.
  int scale_for(const Box& box, int64_t width, int64_t height) const;
  /// The pixels of `part` of the picture reduced to `eighths` / 8; part must lie within it, that is within
  /// scaled(width()) x scaled(height()). To be called once. (What is reduced and turned may be off by a part
  /// of a reduced pixel: the blocks are counted from the other side.) Throws JpegError where what has to be
  /// decoded is damaged.
  void read(int eighths, const Rect& part, Bitmap& pixels);

  static int64_t scaled(int64_t length, int eighths) { return (length * eighths + 7) / 8; }

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace diffq
