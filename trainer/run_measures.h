#pragma once
// Bits over the layers of a run.

#include <string>
#include <vector>

#include "quant/quantizer.h"
#include "results/records.h"

namespace diffq {

/// Mean width over all quantised entries; NaN when there are none.
double mean_bits(const std::vector<TensorBits>& tensors);
std::vector<LayerRow> layer_rows(const std::string& run_id, const std::vector<TensorBits>& tensors);

}  // namespace diffq
