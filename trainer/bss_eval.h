#pragma once
// How well stems were separated: the four energy ratios of BSS Eval v4 (Vincent et al., IEEE TASLP 14(4),
// 2006; Stöter et al., arXiv:1804.06267) in dB. An estimate is split into the true source, that source
// through a filter (spatial distortion), the other sources through filters (interference) and the rest
// (artifacts); one set of filters for the whole signal, energies per window.

#include <ATen/core/Tensor.h>

namespace diffq {

struct BssWindows {
  int64_t window = 44100;  ///< samples; a signal that is not longer is one window
  int64_t hop = 44100;
  int64_t filter_length = 512;
};

/// float64 [sources, windows]: NaN in windows where a source or an estimate is silent (its channels add up to
/// zero throughout), infinite where there is nothing to divide by.
struct BssScores {
  at::Tensor sdr, isr, sir, sar;
};

/// references, estimates: [sources, channels, samples] of the same shape. Works in float64; memory beside the
/// signals does not grow with their length. Throws std::invalid_argument for other shapes.
BssScores bss_eval(const at::Tensor& references, const at::Tensor& estimates, const BssWindows& windows);

/// 10 log10((Σ s² + 1e-7) / (Σ (s − ŝ)² + 1e-7)) over the whole signal: float64 [sources] of
/// [sources, channels, samples] (the utterance-level SDR of later challenges).
at::Tensor utterance_sdr(const at::Tensor& references, const at::Tensor& estimates);

/// The median of what is not NaN, the mean of the middle two of an even count; NaN when nothing is left.
double median_score(const at::Tensor& values);

}  // namespace diffq
