#include "tests/support/jpeg_files.h"

#include <stdio.h>
#include <stdlib.h>
// After stdio.h, which it needs.
#include <jpeglib.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>

#include "tests/support/idx_files.h"

namespace diffq {
namespace {

void write_exif(jpeg_compress_struct& info, int orientation) {
  // A TIFF structure, little-endian, of one directory with one entry.
  const std::vector<uint8_t> marker{'E', 'x',  'i', 'f', 0,
                                    0,   'I',  'I', 42,  0,
                                    8,   0,    0,   0,   1,
                                    0,   0x12, 1,   3,   0,
                                    1,   0,    0,   0,   static_cast<uint8_t>(orientation),
                                    0,   0,    0,   0,   0,
                                    0,   0};
  jpeg_write_marker(&info, JPEG_APP0 + 1, marker.data(), static_cast<unsigned>(marker.size()));
}

// One pixel as the compressor takes it. CMYK is inverted, as Adobe's programs write it.
void put_pixel(const uint8_t* rgb, JpegColour colour, std::vector<uint8_t>& line) {
  if (colour == JpegColour::grey || colour == JpegColour::rgb) {
    line.insert(line.end(), rgb, rgb + (colour == JpegColour::grey ? 1 : 3));
    return;
  }
  const int black = std::max({rgb[0], rgb[1], rgb[2], uint8_t{1}});
  for (int c = 0; c < 3; ++c) line.push_back(static_cast<uint8_t>(rgb[c] * 255 / black));
  line.push_back(static_cast<uint8_t>(black));
}

}  // namespace

std::vector<uint8_t> waves(const JpegForm& form) {
  const int channels = form.colour == JpegColour::grey ? 1 : 3;
  std::vector<uint8_t> pixels;
  for (int y = 0; y < form.height; ++y) {
    for (int x = 0; x < form.width; ++x) {
      for (int c = 0; c < channels; ++c) {
        const double phase = 1.7 * form.seed + 2.1 * c;
        double value = 128 + 60 * std::sin(0.07 * x + phase) * std::cos(0.05 * y - phase) +
                       35 * std::sin(0.31 * (x + y) + phase);
        if ((x / 24 + y / 20 + c + form.seed) % 5 == 0) value = 230 - value / 2;
        pixels.push_back(static_cast<uint8_t>(std::clamp(value, 0.0, 255.0)));
      }
    }
  }
  return pixels;
}

std::vector<uint8_t> jpeg_bytes(const JpegForm& form) {
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &memory, &size);
  info.image_width = form.width;
  info.image_height = form.height;
  const bool four = form.colour == JpegColour::cmyk || form.colour == JpegColour::ycck;
  info.input_components = four ? 4 : form.colour == JpegColour::grey ? 1 : 3;
  info.in_color_space = four ? JCS_CMYK : form.colour == JpegColour::grey ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&info);
  if (form.colour == JpegColour::ycck) jpeg_set_colorspace(&info, JCS_YCCK);
  jpeg_set_quality(&info, form.quality, TRUE);
  if (!form.halved_chroma) info.comp_info[0].h_samp_factor = info.comp_info[0].v_samp_factor = 1;
  if (four && !form.halved_chroma) info.comp_info[3].h_samp_factor = info.comp_info[3].v_samp_factor = 1;
  info.restart_in_rows = form.restart_rows;
  if (form.progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  if (form.orientation != 0) write_exif(info, form.orientation);
  const std::vector<uint8_t> pixels = waves(form);
  const int channels = form.colour == JpegColour::grey ? 1 : 3;
  for (int y = 0; y < form.height; ++y) {
    std::vector<uint8_t> line;
    for (int x = 0; x < form.width; ++x)
      put_pixel(pixels.data() + channels * (y * form.width + x), form.colour, line);
    uint8_t* row = line.data();
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::vector<uint8_t> bytes(memory, memory + size);
  free(memory);
  return bytes;
}

void write_jpeg_folders(const std::filesystem::path& root, const JpegFolderSpec& spec) {
  int seed = 0;
  for (const auto& [part, count] : {std::pair{"train", spec.train}, {"val", spec.val}}) {
    for (int k = 0; k < spec.classes; ++k) {
      const std::filesystem::path folder = root / part / ("class_" + std::to_string(k));
      std::filesystem::create_directories(folder);
      for (int i = 0; i < count; ++i) {
        JpegForm form = spec.form;
        form.seed = ++seed;
        write_bytes(folder / (std::to_string(i) + ".jpg"), jpeg_bytes(form));
      }
    }
  }
  set_back_times(root);
}

void set_back_times(const std::filesystem::path& root) {
  const auto time = std::filesystem::file_time_type::clock::now() - std::chrono::hours(1);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (entry.is_directory()) std::filesystem::last_write_time(entry.path(), time);
  }
}

}  // namespace diffq
