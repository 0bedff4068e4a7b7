#pragma once
// The end of a training step on a GPU: the norm of the gradient, whether anything is not finite, and the
// optimisers' steps, over all tensors at once and without the host's word. Where something is not finite, all
// values stay as they were: selected, never multiplied (NaN times 0 is NaN). As in quant/device_kernels.h
// there are two makes of one text, update_kernel_table.h.

#include <cstdint>

#include "quant/device_kernels.h"
#include "trainer/optimizer_rules.h"

namespace diffq {

/// Why a step changed nothing.
enum class Skip : int32_t { none, loss, norm, own_gradient, failure };

/// What a step tells the host.
struct UpdateReport {
  double gradient_norm;
  int64_t weights_steps, own_steps;     ///< updates so far
  float loss, nonfinite, failed, stop;  ///< the tail of the gradient buffer
  Skip skip;
};

/// In the memory of the device.
struct UpdateState {
  double lr, own_lr;
  OptimizerRule weights_rule, own_rule;
  UpdateReport report;
};

/// Values and what they are changed by, in the memory of the device.
struct UpdateRange {
  float* values;
  const float* gradient;  ///< of buffers of the model: what they were before the step
  int64_t numel;
  int64_t state_offset;  ///< in the optimiser's moments
};

struct Moments {
  float *first, *second;  ///< null where the optimiser has none
};

struct UpdateTable {
  const UpdateRange* ranges;
  const Stretch* chunks;  ///< first the weights', then those of the quantizer's parameters, then the buffers'
  int32_t weight_chunks, own_chunks, buffer_chunks;
  double* sums;       ///< of the chunks of weights and own parameters
  const float* tail;  ///< loss, and ranks that are not finite, failed, want to stop; see ParameterStore
  UpdateState* state;
  OptimizerLaw weights, own;
  Moments weight_moments, own_moments;
  double divisor;   ///< of sums over ranks
  double max_norm;  ///< 0: no clipping
};

struct UpdateKernels {
  /// Before a step: its learning rates.
  void (*begin)(const UpdateTable&, double lr, double own_lr, Stream);
  /// When all gradients are there: norm, report and rules.
  void (*judge)(const UpdateTable&, Stream);
  /// Weights and own parameters; or, where the step is skipped, the buffers as they were.
  void (*update)(const UpdateTable&, Stream);
};

/// Throws std::runtime_error where this build has no CUDA.
const UpdateKernels& cuda_update_kernels();

}  // namespace diffq
