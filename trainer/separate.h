#pragma once
// Whole tracks through a model that takes segments: overlapping segments, weighted so that their ends count
// least, and the mean over shifted copies of the track.

#include <ATen/core/Tensor.h>

#include <functional>

#include "trainer/run_spec.h"

namespace diffq {

/// How long the model's segments are, and how many go through it at once (this changes no result beyond
/// rounding).
struct SegmentForm {
  int64_t rate = 44100;  ///< frames a second
  int64_t frames = 0;
  int64_t batch_size = 1;
};

/// Mixtures [samples, channels, frames] -> stems [samples, stems, channels, frames].
using Separator = std::function<at::Tensor(const at::Tensor&)>;

/// A mixture [channels, frames] -> stems [stems, channels, frames]. The mixture is normalised as in training
/// and the stems are brought back to its loudness. Without gradients.
at::Tensor separate(const Separator& model, const at::Tensor& mixture, const SeparationSpec& spec,
                    const SegmentForm& form);

}  // namespace diffq
