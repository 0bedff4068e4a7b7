#pragma once
// What a sweep may ask for that is right, but can't give what its author expects.

#include <string>
#include <vector>

#include "datasets/dataset.h"
#include "sweeps/sweep.h"
#include "trainer/footprint.h"

namespace diffq {

/// Of one run: bits that can't move as far as they would have to, names that match no tensor, nothing that is
/// quantised. `tensors`: RunFootprint's, of the run's model. "WHERE: what; remedy".
std::vector<std::string> warnings_of(const Run& run, const DataSummary& data,
                                     const std::vector<TensorName>& tensors);

}  // namespace diffq
