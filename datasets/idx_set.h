#pragma once
// Image sets of four IDX files under the names of MNIST: images and labels, to train on and to test on. The
// classes are the labels 0 … largest training label.

#include "datasets/image_set.h"

namespace diffq {

std::string idx_set_fingerprint(const DataSpec& spec);
/// DataName::mnist: must hold what MNIST does; DataName::idx: anything that fits together.
ImageSet read_idx_set(const DataSpec& spec, Keep keep);

}  // namespace diffq
