#include "trainer/separate.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "datasets/music_dataset.h"

namespace diffq {
namespace {

/// One pass over [channels, frames].
at::Tensor overlap_add(const Separator& model, const at::Tensor& mixture, double overlap,
                       const SegmentForm& form) {
  const int64_t frames = mixture.size(1), segment = form.frames;
  const int64_t hop = std::max<int64_t>(1, std::llround(double(segment) * (1 - overlap)));
  // Segments up to the one that reaches the end; the last ones are filled up with zeros.
  const int64_t count = 1 + std::max<int64_t>(0, (frames - segment + hop - 1) / hop);
  const int64_t filled = (count - 1) * hop + segment;
  const at::Tensor parts =
      at::constant_pad_nd(mixture, {0, filled - frames}).unfold(1, segment, hop).transpose(0, 1);
  const at::Tensor ramp = at::arange(1, segment + 1, at::kFloat);
  const at::Tensor weight = at::minimum(ramp, ramp.flip(0)) / double(segment);
  at::Tensor sum, weights = at::zeros({filled});
  for (int64_t first = 0; first < count; first += form.batch_size) {
    const at::Tensor batch = parts.narrow(0, first, std::min(form.batch_size, count - first)).contiguous();
    const at::Tensor stems = model(batch) * weight;
    if (!sum.defined()) sum = at::zeros({stems.size(1), stems.size(2), filled});
    for (int64_t i = 0; i < stems.size(0); ++i) {
      sum.narrow(2, (first + i) * hop, segment).add_(stems[i]);
      weights.narrow(0, (first + i) * hop, segment).add_(weight);
    }
  }
  return (sum / weights).narrow(2, 0, frames);
}

}  // namespace

at::Tensor separate(const Separator& model, const at::Tensor& mixture, const SeparationSpec& spec,
                    const SegmentForm& form) {
  torch::NoGradGuard no_grad;
  const int64_t frames = mixture.size(1);
  const Loudness loudness = loudness_of(mixture);
  const at::Tensor normal = (mixture - loudness.mean) / loudness.deviation;
  at::Tensor sum;
  for (int64_t shift = 0; shift < spec.shifts; ++shift) {
    const int64_t later = shift * form.rate / (2 * spec.shifts);  // within half a second
    const at::Tensor stems = overlap_add(model, at::constant_pad_nd(normal, {later, 0}), spec.overlap, form)
                                 .narrow(2, later, frames);
    sum = sum.defined() ? sum + stems : stems;
  }
  return sum * (loudness.deviation / double(spec.shifts)) + loudness.mean;
}

}  // namespace diffq
