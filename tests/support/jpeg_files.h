#pragma once
// Writes JPEG files for tests, of all kinds that are found in data sets.

#include <cstdint>
#include <filesystem>
#include <vector>

namespace diffq {

enum class JpegColour { grey, rgb, cmyk, ycck };

struct JpegForm {
  int width = 64, height = 48;
  JpegColour colour = JpegColour::rgb;
  bool halved_chroma = true;  ///< 4:2:0, otherwise 4:4:4
  bool progressive = false;
  int restart_rows = 0;  ///< restart markers after so many rows of blocks; 0: none
  int quality = 90;
  int orientation = 0;  ///< of EXIF; 0: no EXIF
  int seed = 1;         ///< another picture for each
};

/// Smooth waves of several lengths with some sharp edges, red, green and blue (or grey alone), row by row.
std::vector<uint8_t> waves(const JpegForm& form);

/// The waves as a JPEG file.
std::vector<uint8_t> jpeg_bytes(const JpegForm& form);

struct JpegFolderSpec {
  int classes = 3, train = 8, val = 4;  ///< pictures a class
  JpegForm form{};
};

/// root/train/class_K/N.jpg and root/val/…, all different; folders' times are set an hour back, so that an
/// index is kept.
void write_jpeg_folders(const std::filesystem::path& root, const JpegFolderSpec& spec = {});
void set_back_times(const std::filesystem::path& root);

}  // namespace diffq
