#pragma once
// Neighbours in a batch of music exchange their stems: new mixtures of old stems (arXiv:1810.01198, as used
// by Demucs).

#include "datasets/dataset.h"

namespace diffq {

/// In groups of `group` samples each stem is dealt out anew, as a function of (seed, epoch, place of the
/// group's first sample in the epoch's order); the mixtures become the sums of their stems. `first_place`: of
/// the batch's first sample.
Batch remix(Batch batch, int64_t group, uint64_t seed, int64_t epoch, int64_t first_place);

}  // namespace diffq
