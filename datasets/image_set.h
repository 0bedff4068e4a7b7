#pragma once
// Data sets of pictures of one size that are held in memory: a format is a pair of functions, what identifies
// a set and what its files hold, and a line in the table of dataset.cpp.

#include <string>
#include <vector>

#include "datasets/data_format.h"
#include "datasets/image_dataset.h"

namespace diffq {

/// Both parts hold at least one picture and agree in channels, height and width; all labels are below
/// classes.
struct ImageSet {
  Pictures train, test;
  int64_t classes = 0;
};

/// labels: pixels are checked to be there, but left empty.
enum class Keep { labels, all };

/// Both throw std::invalid_argument "FILE: what is wrong; what would be right".
struct ImageFormat {
  /// Of all files of the set. What is in them is not judged.
  std::string (*fingerprint)(const DataSpec& spec);
  /// The files' content, checked.
  ImageSet (*read)(const DataSpec& spec, Keep keep);
};

DataSummary summarise(const DataSpec& spec, const ImageSet& set);
DataSplits split(const DataSpec& spec, ImageSet set);

template <const ImageFormat& format>
inline constexpr DataFormat kInMemory{
    [](const DataSpec& spec) { return summarise(spec, format.read(spec, Keep::labels)); },
    [](const DataSpec& spec) { return split(spec, format.read(spec, Keep::all)); }, format.fingerprint};

}  // namespace diffq
