#include "datasets/dataset.h"

#include <algorithm>
#include <array>
#include <utility>

#include "datasets/cifar.h"
#include "datasets/fail.h"
#include "datasets/fingerprint.h"
#include "datasets/idx_set.h"

namespace diffq {
namespace {

constexpr std::array<std::pair<DataName, ImageFormat>, 4> kFormats{
    {{DataName::mnist, {idx_set_files, read_idx_set}},
     {DataName::idx, {idx_set_files, read_idx_set}},
     {DataName::cifar10, {cifar_files, read_cifar}},
     {DataName::cifar100, {cifar_files, read_cifar}}}};

const ImageFormat& format_of(DataName name) {
  for (const auto& [known, format] : kFormats) {
    if (known == name) return format;
  }
  fail("data.name", "unknown");
}

// --- what is asked of the files ---

void check_not_negative(const std::string& key, int64_t value) {
  if (value < 0) fail(key, std::to_string(value) + " is negative; it must be 0 or more");
}

// How many of `there` samples are used when `asked` (0: all) were asked for.
int64_t limited(const std::string& key, int64_t asked, int64_t there, const std::string& of) {
  check_not_negative(key, asked);
  if (asked > there) {
    fail(key, std::to_string(asked) + " samples were asked for, but there are " + std::to_string(there) +
                  " in " + of + "; ask for at most so many, or 0 for all");
  }
  return asked == 0 ? there : asked;
}

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

DataSummary summarise(const DataSpec& spec, const ImageSet& set) {
  check_augment(spec.augment, set.train);
  check_not_negative("data.valid_samples", spec.valid_samples);
  if (spec.valid_samples >= set.train.count) {
    fail("data.valid_samples", std::to_string(spec.valid_samples) + " samples can't be held out of the " +
                                   std::to_string(set.train.count) + " in " + set.train.path + "; at most " +
                                   std::to_string(set.train.count - 1) + " leave something to train on");
  }
  DataSummary summary;
  summary.valid = spec.valid_samples;
  summary.train = limited("data.train_samples", spec.train_samples, set.train.count - summary.valid,
                          set.train.path + " besides the " + std::to_string(summary.valid) + " held out");
  summary.test = limited("data.test_samples", spec.test_samples, set.test.count, set.test.path);
  summary.shape = {set.train.channels, set.train.height, set.train.width, set.classes};
  if (spec.augment.crop != 0) summary.shape.height = summary.shape.width = spec.augment.crop;
  return summary;
}

}  // namespace

DataSummary check_data(const DataSpec& spec) {
  return summarise(spec, format_of(spec.name).read(spec, Keep::labels));
}

DataSplits open_data(const DataSpec& spec) {
  ImageSet set = format_of(spec.name).read(spec, Keep::all);
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

std::string fingerprint(const DataSpec& spec) { return fingerprint_files(format_of(spec.name).files(spec)); }

}  // namespace diffq
