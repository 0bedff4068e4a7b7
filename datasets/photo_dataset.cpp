#include "datasets/photo_dataset.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <stdexcept>
#include <utility>

#include "datasets/bitmap_ops.h"
#include "datasets/codecs/jpeg.h"
#include "datasets/photo_window.h"
#include "datasets/rand_augment.h"
#include "datasets/random_erasing.h"
#include "datasets/resample.h"
#include "datasets/warning.h"

namespace diffq {
namespace {

constexpr int64_t kChannels = 3;

// What each byte of each channel becomes, with the mean and standard deviation over ImageNet that everyone
// uses.
using Table = std::array<std::array<float, 256>, kChannels>;
const Table kNormalised = [] {
  constexpr std::array<double, kChannels> kMean{0.485, 0.456, 0.406}, kDeviation{0.229, 0.224, 0.225};
  Table table;
  for (int64_t c = 0; c < kChannels; ++c) {
    for (int64_t x = 0; x < 256; ++x)
      table[c][x] = static_cast<float>((static_cast<double>(x) / 255 - kMean[c]) / kDeviation[c]);
  }
  return table;
}();

void read_whole(const std::string& path, uint64_t expected, std::vector<uint8_t>& bytes) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const auto size = static_cast<int64_t>(file.tellg());
  if (!file || size < 0)
    throw std::runtime_error(path + ": can't be read; check that it is there and its permissions");
  if (static_cast<uint64_t>(size) != expected) {
    throw std::runtime_error(path + ": has " + std::to_string(size) + " bytes, but had " +
                             std::to_string(expected) +
                             " when the data was listed; start again after removing data.root/.diffq-index");
  }
  bytes.resize(size);
  file.seekg(0);
  if (!file.read(reinterpret_cast<char*>(bytes.data()), size))
    throw std::runtime_error(path + ": can't be read");
}

// The part of a picture reduced to eighths / 8 that `box` of it needs, and the box within that part.
struct Needed {
  Rect part;
  Box box;
};

Needed needed(const PhotoWindow& window, int eighths, const PhotoSpec& photos, int64_t width,
              int64_t height) {
  Needed result;
  const auto axis = [&](double begin, double length, int64_t limit, int64_t& first, int64_t& count,
                        double& inner_begin, double& inner_length) {
    begin = begin * eighths / 8;
    length = length * eighths / 8;
    const double reach = window.bounded ? 0 : resample_reach(photos.interpolation, length, photos.crop);
    first = std::clamp<int64_t>(static_cast<int64_t>(std::floor(begin - reach)), 0, limit - 1);
    count = std::clamp<int64_t>(static_cast<int64_t>(std::ceil(begin + length + reach)), first + 1, limit) -
            first;
    inner_begin = begin - static_cast<double>(first);
    inner_length = length;
  };
  Rect& part = result.part;
  Box& box = result.box;
  axis(window.box.left, window.box.width, width, part.left, part.width, box.left, box.width);
  axis(window.box.top, window.box.height, height, part.top, part.height, box.top, box.height);
  return result;
}

void normalise(const Bitmap& pixels, float* out) {
  for (int64_t c = 0; c < kChannels; ++c) {
    const std::array<float, 256>& table = kNormalised[c];
    for (int64_t y = 0; y < pixels.height; ++y, out += pixels.width) {
      const uint8_t* row = pixels.row(y) + c;
      for (int64_t x = 0; x < pixels.width; ++x) out[x] = table[row[4 * x]];
    }
  }
}

}  // namespace

void CorruptFiles::add(const std::string& path, const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (!paths_.insert(path).second) return;
  const auto found = static_cast<int64_t>(paths_.size());
  if (found > most_) {
    throw std::runtime_error(path + ": " + what + "; it is one of " + std::to_string(found) +
                             " files that can't be decoded, and data.max_corrupt allows " +
                             std::to_string(most_));
  }
  warn_of_data(path, what + "; another picture of its class takes its place");
}

PhotoDataset::PhotoDataset(std::shared_ptr<const ClassFolders> folders, const PictureFiles& part,
                           std::vector<int64_t> order, const PhotoSpec& photos,
                           std::shared_ptr<CorruptFiles> corrupt)
    : folders_(std::move(folders)),
      part_(part),
      order_(std::move(order)),
      photos_(photos),
      corrupt_(std::move(corrupt)) {}

Batch PhotoDataset::batch(std::span<const int64_t> samples, const std::optional<AugmentKey>& augment) const {
  const auto count = static_cast<int64_t>(samples.size());
  Batch batch{buffers_->tensor({count, kChannels, photos_.crop, photos_.crop}),
              at::empty({count}, at::kLong)};
  float* out = batch.input.mutable_data_ptr<float>();
  int64_t* target = batch.target.mutable_data_ptr<int64_t>();
  static thread_local Scratch scratch;  // fresh memory is mapped page by page
  for (int64_t i = 0; i < count; ++i) {
    const int64_t sample = samples[i] % kCopyStride;
    if (sample < 0 || sample >= size()) {
      throw std::runtime_error((std::filesystem::path(folders_->root) / part_.folder()).string() +
                               ": there is no sample " + std::to_string(sample) + " in this part of " +
                               std::to_string(size()));
    }
    write_sample(samples[i], augment, scratch, out + i * kChannels * photos_.crop * photos_.crop);
    target[i] = part_.label(order_[sample]);
  }
  return batch;
}

void PhotoDataset::write_sample(int64_t sample, const std::optional<AugmentKey>& augment, Scratch& scratch,
                                float* out) const {
  const int64_t first = order_[sample % kCopyStride], label = part_.label(first);
  const int64_t begin = part_.class_begin(label), count = part_.class_end(label) - begin;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t file = begin + (first - begin + i) % count;
    try {
      return write_file(file, sample, augment, scratch, out);
    } catch (const JpegError& error) {
      corrupt_->add(folders_->path(part_, file).string(), error.what());
    }
  }
  throw std::runtime_error(
      (std::filesystem::path(folders_->root) / part_.folder() / folders_->classes[label]).string() +
      ": none of its files can be decoded");
}

void PhotoDataset::write_file(int64_t file, int64_t sample, const std::optional<AugmentKey>& augment,
                              Scratch& scratch, float* out) const {
  read_whole(folders_->path(part_, file).string(), part_.bytes(file), scratch.file);
  JpegReader jpeg(scratch.file);
  const int64_t width = jpeg.width(), height = jpeg.height(), crop = photos_.crop;
  const PhotoWindow window = augment ? training_window(photos_, height, width, *augment, sample)
                                     : central_window(photos_, height, width);
  const int eighths = jpeg.scale_for(window.box, crop, crop);
  const Needed use = needed(window, eighths, photos_, JpegReader::scaled(width, eighths),
                            JpegReader::scaled(height, eighths));
  jpeg.read(eighths, use.part, scratch.decoded);
  if (photos_.interpolation == Interpolation::bicubic) {
    resample_bicubic(scratch.decoded, use.box, crop, crop, scratch.room, scratch.resized);
  } else {
    resample(scratch.decoded, use.box, crop, crop, scratch.resized);
  }
  if (window.mirrored) mirror(scratch.resized);
  if (augment && photos_.rand_augment > 0) {
    for (const auto& op : draw_augment_ops(photos_.rand_augment, *augment, sample)) {
      if (op) apply_augment_op(*op, photos_.interpolation, scratch.resized, scratch.room);
    }
  }
  normalise(scratch.resized, out);
  if (!augment || photos_.random_erasing == 0) return;
  if (const auto box = draw_erased_box(photos_.random_erasing, crop, crop, *augment, sample))
    erase(*box, kChannels, crop, crop, *augment, sample, out);
}

}  // namespace diffq
