#pragma once
// ImageNet, or any photos, as a folder of class folders of JPEG files (class_folders.h): train/ to train on
// and to hold samples out of, val/ to test on.

#include <string>

#include "datasets/dataset.h"

namespace diffq {

/// As the functions of dataset.h. check_imagenet reads the index and a few headers.
DataSummary check_imagenet(const DataSpec& spec);
DataSplits open_imagenet(const DataSpec& spec);
/// Over the names of all files relative to the root, their sizes and the content of 64 of them.
std::string imagenet_fingerprint(const DataSpec& spec);

}  // namespace diffq
