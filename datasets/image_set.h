#pragma once
// What every image format gives to dataset.cpp: which files make up a set, and what they hold. A new format
// is a pair of these functions and a line in the table there.

#include <string>
#include <vector>

#include "datasets/data_spec.h"
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
  /// Paths of all files of the set, in the order of its fingerprint. What is in them is not judged.
  std::vector<std::string> (*files)(const DataSpec& spec);
  /// The files' content, checked.
  ImageSet (*read)(const DataSpec& spec, Keep keep);
};

}  // namespace diffq
