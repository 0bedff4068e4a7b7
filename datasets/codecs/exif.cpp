#include "datasets/codecs/exif.h"

#include <algorithm>
#include <string_view>

namespace diffq {
namespace {

// A TIFF structure: numbers in its own byte order, 0 beyond its end.
struct Tiff {
  std::span<const uint8_t> bytes;
  bool big_endian;

  uint32_t number(size_t at, size_t length) const {
    if (at > bytes.size() || bytes.size() - at < length) return 0;
    uint32_t value = 0;
    for (size_t i = 0; i < length; ++i) value = value << 8 | bytes[at + (big_endian ? i : length - 1 - i)];
    return value;
  }
};

constexpr uint32_t kOrientation = 0x0112, kShort = 3;

}  // namespace

int exif_orientation_of(std::span<const uint8_t> marker) {
  constexpr std::string_view kExif("Exif\0\0", 6);
  if (marker.size() < kExif.size() + 8 || !std::equal(kExif.begin(), kExif.end(), marker.begin())) return 0;
  Tiff tiff{marker.subspan(kExif.size()), false};
  tiff.big_endian = tiff.bytes[0] == 'M';
  if (tiff.number(2, 2) != 42) return 0;
  // The first directory: a count, then entries of tag, type, count and value.
  const size_t directory = tiff.number(4, 4);
  const uint32_t entries = tiff.number(directory, 2);
  for (uint32_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + 12 * size_t{i};
    if (tiff.number(entry, 2) != kOrientation || tiff.number(entry + 2, 2) != kShort) continue;
    const uint32_t found = tiff.number(entry + 8, 2);
    return found <= 8 ? static_cast<int>(found) : 0;
  }
  return 0;
}

}  // namespace diffq
