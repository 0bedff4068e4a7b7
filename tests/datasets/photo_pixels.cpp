// Writes JPEG files of all kinds and what this program makes of them, for compare_with_pillow.py:
//   photo_pixels FOLDER
// NAME.jpg, NAME.whole_W_H (as shown), NAME.half_W_H (reduced to 1/2), NAME.box_W_H and
// NAME.cubic_W_H (a part of the whole resampled); in FOLDER/photos a data set, and FOLDER/photos.bilinear
// and FOLDER/photos.bicubic its test samples.

#include <cstdio>
#include <fstream>

#include "datasets/codecs/jpeg.h"
#include "datasets/dataset.h"
#include "datasets/resample.h"
#include "tests/support/idx_files.h"
#include "tests/support/jpeg_files.h"

namespace {

using namespace diffq;

void write_pixels(const std::filesystem::path& file, const Bitmap& pixels) {
  std::vector<uint8_t> rgb;
  for (size_t i = 0; i < pixels.bytes.size(); ++i) {
    if (i % 4 != 3) rgb.push_back(pixels.bytes[i]);
  }
  write_bytes(file.string() + '_' + std::to_string(pixels.width) + '_' + std::to_string(pixels.height), rgb);
}

Bitmap decoded(const std::vector<uint8_t>& bytes, int eighths) {
  JpegReader jpeg(bytes);
  Bitmap pixels;
  jpeg.read(eighths,
            {0, 0, JpegReader::scaled(jpeg.width(), eighths), JpegReader::scaled(jpeg.height(), eighths)},
            pixels);
  return pixels;
}

void write_one(const std::filesystem::path& folder, const std::string& name, const JpegForm& form) {
  const std::vector<uint8_t> bytes = jpeg_bytes(form);
  write_bytes(folder / (name + ".jpg"), bytes);
  const Bitmap whole = decoded(bytes, 8);
  write_pixels(folder / (name + ".whole"), whole);
  write_pixels(folder / (name + ".half"), decoded(bytes, 4));
  Bitmap part, room;
  resample(whole, {10.25, 7.5, 70.5, 60.25}, 48, 90, part);
  write_pixels(folder / (name + ".box"), part);
  resample_bicubic(whole, {10.25, 7.5, 70.5, 60.25}, 48, 90, room, part);
  write_pixels(folder / (name + ".cubic"), part);
}

}  // namespace

int main(int, char** argv) {
  const std::filesystem::path folder = argv[1];
  const char* colours[] = {"grey", "rgb", "cmyk", "ycck"};
  for (int colour = 0; colour < 4; ++colour) {
    for (const bool halved : {true, false}) {
      for (const bool progressive : {false, true}) {
        const std::string name =
            std::string(colours[colour]) + (halved ? "-420" : "-444") + (progressive ? "-progressive" : "");
        write_one(folder, name,
                  {.width = 131,
                   .height = 99,
                   .colour = static_cast<JpegColour>(colour),
                   .halved_chroma = halved,
                   .progressive = progressive});
      }
    }
  }
  for (int orientation = 1; orientation <= 8; ++orientation)
    write_one(folder, "turned-" + std::to_string(orientation),
              {.width = 128, .height = 96, .orientation = orientation});

  write_jpeg_folders(folder / "photos",
                     {.classes = 2, .train = 2, .val = 3, .form = {.width = 157, .height = 133}});
  DataSpec spec;
  spec.name = DataName::imagenet;
  spec.root = (folder / "photos").string();
  spec.valid_samples = 1;
  spec.photos.resize = 72;
  spec.photos.crop = 64;
  bool good = true;
  for (const auto& [word, interpolation] : kInterpolationNames) {
    spec.photos.interpolation = interpolation;
    const DataSplits splits = open_data(spec);
    std::ofstream out(folder / ("photos." + std::string(word)), std::ios::binary);
    for (int64_t i = 0; i < splits.test->size(); ++i) {
      const Batch batch = splits.test->batch({&i, 1}, std::nullopt);
      out.write(reinterpret_cast<const char*>(batch.input.const_data_ptr<float>()), batch.input.numel() * 4);
    }
    good = good && out.good();
  }
  return good ? 0 : 1;
}
