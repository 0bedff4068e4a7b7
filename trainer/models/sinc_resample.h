#pragma once
// Another sample rate by windowed sinc interpolation (Smith, "Digital Audio Resampling"; 24 zero crossings a
// side, cut off at 0.945 of the lower rate's half, squared cosine as the window: what Demucs was published
// with).

#include <ATen/core/Tensor.h>

namespace diffq {

class SincResample {
 public:
  SincResample(int64_t from_rate, int64_t to_rate);

  /// [rows, channels, time] -> [rows, channels, ⌊time · to / from⌋]; the ends are taken to go on as they end.
  at::Tensor operator()(const at::Tensor& signal) const;

 private:
  int64_t from_, to_, width_ = 0;
  mutable at::Tensor kernels_;  ///< [to, 1, taps]: one for each place between two samples; where signals are
};

}  // namespace diffq
