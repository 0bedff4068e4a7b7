#pragma once
// CIFAR-10 and CIFAR-100, binary version, as distributed (https://www.cs.toronto.edu/~kriz/cifar.html):
// records of one label byte (CIFAR-100: coarse, then fine, the fine one being what is learnt) and 3 x 32 x 32
// pixels, the red plane first. data.root is the unpacked folder, or the folder that holds it or else the
// archive. The files may hold any number of whole records.

#include "datasets/image_set.h"

namespace diffq {

/// The same for the archive as for what it holds, unpacked.
std::string cifar_fingerprint(const DataSpec& spec);
ImageSet read_cifar(const DataSpec& spec, Keep keep);

}  // namespace diffq
