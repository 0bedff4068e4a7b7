#pragma once
// Where the levels of a tensor end when a few weights far out are clipped so that all others get finer
// levels. Cheap enough for every step of training, and a function of the weights and bits alone.

#include <cstdint>

#include "quant/pieces.h"

namespace diffq {

/// NaN stays NaN.
inline float clipped(float weight, Extremes ends) {
  const float above = weight < ends.min ? ends.min : weight;
  return above > ends.max ? ends.max : above;
}

/// The ends [min, max], inside `all`, with the least expected squared error: of rounding, taken as uniform,
/// (max − min)² scale² / 12 a weight, and of clipping, the squared distances of the weights beyond the ends.
/// The sum is convex in both ends; Newton's method on the weights that are clipped finds them (that of
/// arXiv:2206.06501, for two ends and mixed bits). `mean_square_scale`: the mean over the weights of
/// 1/(2^bits − 1)². Large tensors are judged by every k-th weight.
Extremes least_error_ends(const float* weights, int64_t n, double mean_square_scale, Extremes all);

}  // namespace diffq
