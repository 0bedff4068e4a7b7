#include "datasets/image_dataset.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace diffq {

std::string size_text(const Pictures& pictures) {
  const std::string size = std::to_string(pictures.height) + " x " + std::to_string(pictures.width);
  return pictures.channels == 1 ? size : std::to_string(pictures.channels) + " x " + size;
}

std::vector<float> normalisation_table(const Pictures& pictures, int64_t count) {
  const int64_t plane = pictures.height * pictures.width;
  std::vector<float> table(pictures.channels * 256);
  for (int64_t channel = 0; channel < pictures.channels; ++channel) {
    std::array<int64_t, 256> histogram{};
    for (int64_t i = 0; i < count; ++i) {
      const uint8_t* pixel = pictures.pixels.data() + (i * pictures.channels + channel) * plane;
      for (int64_t p = 0; p < plane; ++p) ++histogram[pixel[p]];
    }
    int64_t sum = 0, squares = 0;
    for (int64_t x = 0; x < 256; ++x) {
      sum += histogram[x] * x;
      squares += histogram[x] * x * x;
    }
    const double pixels = static_cast<double>(count * plane);
    const double mean = static_cast<double>(sum) / pixels;
    const double variance = static_cast<double>(squares) / pixels - mean * mean;
    const bool constant = std::ranges::count_if(histogram, [](int64_t n) { return n != 0; }) <= 1;
    const double deviation = constant ? 255.0 : std::sqrt(variance);
    for (int64_t x = 0; x < 256; ++x) {
      table[channel * 256 + x] = static_cast<float>((static_cast<double>(x) - mean) / deviation);
    }
  }
  return table;
}

ImageDataset::ImageDataset(std::shared_ptr<const Pictures> pictures, int64_t first, int64_t count,
                           std::vector<float> table, const AugmentSpec& augment)
    : pictures_(std::move(pictures)),
      first_(first),
      count_(count),
      table_(std::move(table)),
      augment_(augment),
      out_height_(augment.crop == 0 ? pictures_->height : augment.crop),
      out_width_(augment.crop == 0 ? pictures_->width : augment.crop) {}

Batch ImageDataset::batch(std::span<const int64_t> samples, const std::optional<AugmentKey>& augment) const {
  const auto count = static_cast<int64_t>(samples.size());
  Batch batch{at::empty({count, pictures_->channels, out_height_, out_width_}, at::kFloat),
              at::empty({count}, at::kLong)};
  float* out = batch.input.mutable_data_ptr<float>();
  int64_t* target = batch.target.mutable_data_ptr<int64_t>();
  const int64_t stride = pictures_->channels * out_height_ * out_width_;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t sample = samples[i];
    if (sample < 0 || sample >= count_) {
      throw std::runtime_error(pictures_->path + ": there is no sample " + std::to_string(sample) +
                               " in this part of " + std::to_string(count_));
    }
    const Window window =
        augment ? training_window(augment_, pictures_->height, pictures_->width, *augment, sample)
                : central_window(augment_, pictures_->height, pictures_->width);
    write_sample(sample, window, out + i * stride);
    target[i] = pictures_->labels[first_ + sample];
  }
  return batch;
}

void ImageDataset::write_sample(int64_t sample, const Window& window, float* out) const {
  const int64_t height = pictures_->height, width = pictures_->width;
  // Columns [begin, end) of what comes out lie within the picture.
  const int64_t begin = std::clamp<int64_t>(-window.left, 0, out_width_);
  const int64_t end = std::clamp<int64_t>(width - window.left, begin, out_width_);
  for (int64_t channel = 0; channel < pictures_->channels; ++channel) {
    const float* table = table_.data() + channel * 256;
    const uint8_t* plane =
        pictures_->pixels.data() + ((first_ + sample) * pictures_->channels + channel) * height * width;
    for (int64_t y = 0; y < out_height_; ++y, out += out_width_) {
      const int64_t from = window.top + y;
      if (from < 0 || from >= height) {
        std::fill_n(out, out_width_, table[0]);
        continue;
      }
      const uint8_t* row = plane + from * width;
      std::fill(out, out + begin, table[0]);
      for (int64_t x = begin; x < end; ++x) out[x] = table[row[window.left + x]];
      std::fill(out + end, out + out_width_, table[0]);
      if (window.mirrored) std::reverse(out, out + out_width_);
    }
  }
}

}  // namespace diffq
