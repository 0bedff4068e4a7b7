#pragma once
// Fixed bits on a uniform grid over each tensor's range. QAT trains through the rounding (the gradient passes
// as if it were not there); PTQ trains as fp32 and rounds only what is evaluated and packed.

#include "quant/base_quantizer.h"
#include "quant/grid.h"

namespace diffq {

class Uniform : public BaseQuantizer {
 public:
  Uniform(const MethodSpec& method, QuantSpec quant, CodePath path = best_code_path());

 protected:
  std::vector<int> group_bits(size_t) const override { return {bits_}; }
  double stored_bits(size_t tensor) const override;
  std::vector<Extremes> level_ends(size_t tensor) const override;
  void materialize_tensors(NoiseKey key) override;
  void materialize_tensors_rounded() override;

 private:
  /// The grid of a tensor as its weights are now, given their extremes.
  Grid clipped_grid(size_t tensor, Extremes extremes) const;

  int bits_;
  Clip clip_;
  bool rounds_in_training_;
};

/// The grid inside `grid` whose rounding of the weights has the least squared error: each end is drawn in,
/// first both alike, then one at a time. Large tensors are judged by every k-th weight.
Grid least_squares_grid(const float* weights, int64_t n, Grid grid);

}  // namespace diffq
