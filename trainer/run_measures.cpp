#include "trainer/run_measures.h"

#include <algorithm>

namespace diffq {
namespace {

// Calls use(bits, entries) for each group; the last group of a tensor may be shorter.
template <typename Use>
void for_each_group(const TensorBits& tensor, Use use) {
  int64_t left = tensor.weights;
  for (const int bits : tensor.bits) {
    const int64_t entries = std::min(left, tensor.group_size);
    use(bits, entries);
    left -= entries;
  }
}

}  // namespace

double mean_bits(const std::vector<TensorBits>& tensors) {
  int64_t weights = 0, total = 0;
  for (const TensorBits& tensor : tensors) {
    weights += tensor.weights;
    for_each_group(tensor, [&](int bits, int64_t entries) { total += bits * entries; });
  }
  return weights > 0 ? static_cast<double>(total) / static_cast<double>(weights) : kNotApplicable;
}

std::vector<LayerRow> layer_rows(const std::string& run_id, const std::vector<TensorBits>& tensors) {
  std::vector<LayerRow> rows;
  for (const TensorBits& tensor : tensors) {
    LayerRow row;
    row.run_id = run_id;
    row.layer = tensor.name;
    row.weights = tensor.weights;
    for_each_group(tensor, [&](int bits, int64_t entries) { row.bits[bits] += entries; });
    row.mean_bits = mean_bits({tensor});
    row.min_bits = *std::min_element(tensor.bits.begin(), tensor.bits.end());
    row.max_bits = *std::max_element(tensor.bits.begin(), tensor.bits.end());
    rows.push_back(row);
  }
  return rows;
}

}  // namespace diffq
