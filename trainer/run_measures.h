#pragma once
// Small measures of a run: bits over layers, peak memory.

#include <string>
#include <vector>

#include "quant/quantizer.h"
#include "results/records.h"

namespace diffq {

/// Mean width over all quantised entries; NaN when there are none.
double mean_bits(const std::vector<TensorBits>& tensors);
std::vector<LayerRow> layer_rows(const std::string& run_id, const std::vector<TensorBits>& tensors);

/// Largest resident memory of this process since reset_peak_memory(), in MB of 2^20 bytes. Linux; NaN
/// elsewhere.
double peak_memory_mb();
void reset_peak_memory();

}  // namespace diffq
