#include "datasets/image_set.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "datasets/fail.h"

namespace diffq {
namespace {

void check_augment(const AugmentSpec& augment, const Pictures& pictures) {
  check_not_negative("data.augment.shift", augment.shift);
  check_not_negative("data.augment.crop", augment.crop);
  const int64_t side = std::min(pictures.height, pictures.width);
  if (augment.shift >= side) {
    fail("data.augment.shift", std::to_string(augment.shift) + " pixels would shift images of " +
                                   size_text(pictures) + " out of sight; it must be below " +
                                   std::to_string(side));
  }
  if (augment.crop > side) {
    fail("data.augment.crop", std::to_string(augment.crop) + " is larger than the images of " +
                                  size_text(pictures) + "; it must be at most " + std::to_string(side) +
                                  ", or 0 for no cut");
  }
}

}  // namespace

DataSummary summarise(const DataSpec& spec, const ImageSet& set) {
  check_augment(spec.augment, set.train);
  DataSummary summary = divide(spec, {set.train.count, set.train.path}, {set.test.count, set.test.path});
  ImageShape shape{set.train.channels, set.train.height, set.train.width, set.classes};
  if (spec.augment.crop != 0) shape.height = shape.width = spec.augment.crop;
  summary.shape = shape;
  return summary;
}

DataSplits split(const DataSpec& spec, ImageSet set) {
  const DataSummary summary = summarise(spec, set);
  const auto train = std::make_shared<const Pictures>(std::move(set.train));
  const auto test = std::make_shared<const Pictures>(std::move(set.test));
  const std::vector<float> table = normalisation_table(*train, summary.train);
  const auto part = [&](const std::shared_ptr<const Pictures>& pictures, int64_t first, int64_t count) {
    return std::make_shared<const ImageDataset>(pictures, first, count, table, spec.augment);
  };
  return {summary.shape, part(train, 0, summary.train),
          part(train, train->count - summary.valid, summary.valid), part(test, 0, summary.test)};
}

}  // namespace diffq
