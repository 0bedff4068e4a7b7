// JPEG files of all kinds, read whole, in parts, reduced and damaged. tests/datasets/compare_with_pillow.py
// compares the pixels with another program's.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "datasets/codecs/exif.h"
#include "datasets/codecs/jpeg.h"
#include "tests/support/jpeg_files.h"

namespace diffq {
namespace {

std::vector<JpegForm> all_forms() {
  std::vector<JpegForm> forms;
  for (const JpegColour colour : {JpegColour::grey, JpegColour::rgb, JpegColour::cmyk, JpegColour::ycck}) {
    for (const bool halved : {true, false}) {
      for (const bool progressive : {false, true}) {
        forms.push_back({.width = 131,
                         .height = 99,
                         .colour = colour,
                         .halved_chroma = halved,
                         .progressive = progressive,
                         .restart_rows = progressive ? 0 : 1});
        forms.push_back({.width = 128, .height = 96, .colour = colour, .halved_chroma = halved});
      }
    }
  }
  return forms;
}

Bitmap read(const std::vector<uint8_t>& bytes, int eighths, const Rect& part) {
  JpegReader reader(bytes);
  Bitmap pixels;
  reader.read(eighths, part, pixels);
  return pixels;
}

Bitmap read_all(const std::vector<uint8_t>& bytes, int eighths = 8) {
  const JpegReader reader(bytes);
  return read(
      bytes, eighths,
      {0, 0, JpegReader::scaled(reader.width(), eighths), JpegReader::scaled(reader.height(), eighths)});
}

bool same_pixel(const uint8_t* a, const uint8_t* b) { return std::equal(a, a + 3, b); }

std::string error_of(const std::vector<uint8_t>& bytes) {
  try {
    read_all(bytes);
    return "";
  } catch (const JpegError& error) {
    return error.what();
  }
}

TEST(Jpeg, IsTheWholePicture) {
  for (JpegForm form : all_forms()) {
    form.quality = 98;
    const std::vector<uint8_t> expected = waves(form);
    const Bitmap pixels = read_all(jpeg_bytes(form));
    ASSERT_EQ(pixels.width, form.width);
    ASSERT_EQ(pixels.height, form.height);
    const int channels = form.colour == JpegColour::grey ? 1 : 3;
    double sum = 0;
    for (int64_t i = 0; i < pixels.width * pixels.height; ++i) {
      for (int c = 0; c < 3; ++c)
        sum += std::abs(pixels.bytes[4 * i + c] - expected[channels * i + std::min(c, channels - 1)]);
    }
    // What is lost is lost by halving the colours at the edges.
    EXPECT_LT(sum / static_cast<double>(3 * pixels.width * pixels.height), form.halved_chroma ? 6 : 3)
        << static_cast<int>(form.colour);
  }
}

TEST(Jpeg, APartIsTheSameAsOfTheWhole) {
  std::mt19937 random(1);
  for (const JpegForm& form : all_forms()) {
    const std::vector<uint8_t> bytes = jpeg_bytes(form);
    for (const int eighths : {1, 2, 4, 8}) {
      const Bitmap whole = read_all(bytes, eighths);
      for (int trial = 0; trial < 30; ++trial) {
        Rect part;
        part.left = static_cast<int64_t>(random() % whole.width);
        part.top = static_cast<int64_t>(random() % whole.height);
        part.width = 1 + static_cast<int64_t>(random() % (whole.width - part.left));
        part.height = 1 + static_cast<int64_t>(random() % (whole.height - part.top));
        const Bitmap pixels = read(bytes, eighths, part);
        for (int64_t y = 0; y < part.height; ++y) {
          for (int64_t x = 0; x < part.width; ++x) {
            ASSERT_TRUE(same_pixel(pixels.row(y) + 4 * x, whole.row(part.top + y) + 4 * (part.left + x)))
                << "colour " << static_cast<int>(form.colour) << " halved " << form.halved_chroma
                << " progressive " << form.progressive << " eighths " << eighths << " at " << part.left << "+"
                << x << " of " << part.width << ", " << part.top << "+" << y << " of " << part.height;
          }
        }
      }
    }
  }
}

TEST(Jpeg, IsTurnedAsItsOrientationSays) {
  for (const int eighths : {8, 4}) {
    JpegForm form{.width = 64, .height = 48};  // whole blocks: what is reduced is the same from either side
    const Bitmap stored = read_all(jpeg_bytes(form), eighths);
    const int64_t right = stored.width - 1, bottom = stored.height - 1;
    for (form.orientation = 1; form.orientation <= 8; ++form.orientation) {
      const std::vector<uint8_t> bytes = jpeg_bytes(form);
      const Bitmap shown = read_all(bytes, eighths);
      const bool turned = form.orientation >= 5;
      ASSERT_EQ(shown.width, turned ? stored.height : stored.width);
      ASSERT_EQ(shown.height, turned ? stored.width : stored.height);
      const Rect part{5, 3, 11, 17};
      const Bitmap cut = read(bytes, eighths, part);
      for (int64_t y = 0; y < shown.height; ++y) {
        for (int64_t x = 0; x < shown.width; ++x) {
          // EXIF 2.3, tag 274: where row 0 and column 0 of what is stored are shown.
          const std::pair<int64_t, int64_t> from[]{
              {x, y}, {right - x, y},  {right - x, bottom - y}, {x, bottom - y},
              {y, x}, {y, bottom - x}, {right - y, bottom - x}, {right - y, x}};
          const auto [from_x, from_y] = from[form.orientation - 1];
          const uint8_t* expected = stored.row(from_y) + 4 * from_x;
          ASSERT_TRUE(same_pixel(shown.row(y) + 4 * x, expected)) << form.orientation;
          if (y >= part.top && y < part.top + part.height && x >= part.left && x < part.left + part.width) {
            ASSERT_TRUE(same_pixel(cut.row(y - part.top) + 4 * (x - part.left), expected))
                << form.orientation;
          }
        }
      }
    }
  }
}

TEST(Jpeg, OrientationIsReadFromEitherByteOrderAndNeverBeyondTheEnd) {
  std::vector<uint8_t> marker{'E', 'x', 'i', 'f',  0, 0, 'M', 'M', 0, 42, 0, 0, 0, 8,
                              0,   1,   1,   0x12, 0, 3, 0,   0,   0, 1,  0, 6, 0, 0};
  EXPECT_EQ(exif_orientation_of(marker), 6);
  marker[25] = 9;
  EXPECT_EQ(exif_orientation_of(marker), 0);
  marker[25] = 6;
  for (size_t length = 0; length + 2 < marker.size(); ++length)
    EXPECT_EQ(exif_orientation_of(std::span(marker).first(length)), 0) << length;
  marker[10] = 0xff;  // a directory far away
  EXPECT_EQ(exif_orientation_of(marker), 0);
}

TEST(Jpeg, TheSmallestScaleThatIsLargeEnough) {
  const std::vector<uint8_t> bytes = jpeg_bytes({.width = 640, .height = 480});
  const JpegReader reader(bytes);
  EXPECT_EQ(reader.scale_for({0, 0, 448, 448}, 224, 224), 4);
  EXPECT_EQ(reader.scale_for({0, 0, 447, 448}, 224, 224), 8);
  EXPECT_EQ(reader.scale_for({0, 0, 448, 100}, 56, 56), 8);
  EXPECT_EQ(reader.scale_for({0, 0, 480, 480}, 60, 60), 1);
  EXPECT_EQ(reader.scale_for({0, 0, 480, 480}, 61, 60), 2);
  EXPECT_EQ(reader.scale_for({0, 0, 20, 20}, 224, 224), 8);
}

TEST(Jpeg, CutShortAnywhere) {
  for (const bool progressive : {false, true}) {
    const std::vector<uint8_t> bytes = jpeg_bytes({.progressive = progressive, .orientation = 3});
    for (size_t length = 0; length < bytes.size(); ++length)
      ASSERT_NE(error_of({bytes.begin(), bytes.begin() + static_cast<int64_t>(length)}), "") << length;
    EXPECT_EQ(error_of(bytes), "");
    std::vector<uint8_t> longer = bytes;  // what stands after the end does no harm
    longer.insert(longer.end(), 100, 7);
    EXPECT_EQ(error_of(longer), "");
  }
  EXPECT_EQ(error_of({}), "is empty");
  EXPECT_EQ(error_of({0x89, 'P', 'N', 'G', 13, 10, 26, 10}), "is not a JPEG file");
}

TEST(Jpeg, DamageIsAnErrorOrAnotherPictureButNothingElse) {
  std::mt19937 random(2);
  int errors = 0;
  for (const JpegForm& form : all_forms()) {
    const std::vector<uint8_t> whole = jpeg_bytes(form);
    for (int trial = 0; trial < 60; ++trial) {
      std::vector<uint8_t> bytes = whole;
      for (int k = 0; k < 1 + trial % 4; ++k)
        bytes[2 + random() % (bytes.size() - 2)] = static_cast<uint8_t>(random());
      errors += error_of(bytes) != "";
    }
  }
  EXPECT_GT(errors, 100);
}

TEST(Jpeg, AbsurdSizesAreRefusedBeforeAnythingIsSetAside) {
  std::vector<uint8_t> bytes = jpeg_bytes({.width = 0x123, .height = 0x145, .progressive = true});
  const std::array<uint8_t, 5> size{8, 0x01, 0x45, 0x01, 0x23};  // of the frame header
  const auto at = std::search(bytes.begin(), bytes.end(), size.begin(), size.end());
  ASSERT_NE(at, bytes.end());
  const std::array<uint8_t, 5> absurd{8, 0xea, 0x60, 0xea, 0x60};
  std::copy(absurd.begin(), absurd.end(), at);
  EXPECT_EQ(error_of(bytes), "has 60000 x 60000 pixels, more than 100000000");
}

}  // namespace
}  // namespace diffq
