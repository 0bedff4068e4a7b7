#pragma once
// Pictures held in memory as bytes, given out as normalised float32. Several datasets may share the same
// pictures (training and held-out part).

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "datasets/augment.h"
#include "datasets/dataset.h"

namespace diffq {

struct Pictures {
  std::string path;  ///< for messages
  int64_t count = 0, channels = 0, height = 0, width = 0;
  std::vector<uint8_t> pixels;  ///< [count, channels, height, width]
  std::vector<uint8_t> labels;  ///< [count]
};

/// "28 x 28", "3 x 32 x 32": for messages.
std::string size_text(const Pictures& pictures);

/// What each byte becomes, [channels, 256]: (x / 255 - mean) / std, with the channel's mean and standard
/// deviation over the first `count` pictures. The sums are integers, so the same on every machine. Where all
/// pixels are equal std is taken as 1.
std::vector<float> normalisation_table(const Pictures& pictures, int64_t count);

class ImageDataset : public Dataset {
 public:
  /// Samples [first, first + count) of `pictures`, counted from 0. `table` as of normalisation_table.
  ImageDataset(std::shared_ptr<const Pictures> pictures, int64_t first, int64_t count,
               std::vector<float> table, const AugmentSpec& augment);

  int64_t size() const override { return count_; }
  Batch batch(std::span<const int64_t> samples, const std::optional<AugmentKey>& augment) const override;

 private:
  void write_sample(int64_t sample, const Window& window, float* out) const;

  std::shared_ptr<const Pictures> pictures_;
  int64_t first_, count_;
  std::vector<float> table_;
  AugmentSpec augment_;
  int64_t out_height_, out_width_;
};

}  // namespace diffq
