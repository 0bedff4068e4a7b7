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

/// Largest memory since reset_peak_memory(), in MB of 2^20 bytes: resident memory of this process (Linux; NaN
/// elsewhere), or what torch gave out of a GPU's.
double peak_memory_mb(at::Device device = at::kCPU);
void reset_peak_memory(at::Device device = at::kCPU);

}  // namespace diffq
