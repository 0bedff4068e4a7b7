#include "trainer/models/sinc_resample.h"

#include <torch/torch.h>

#include <cmath>
#include <numbers>
#include <numeric>

namespace diffq {

SincResample::SincResample(int64_t from_rate, int64_t to_rate)
    : from_(from_rate / std::gcd(from_rate, to_rate)), to_(to_rate / std::gcd(from_rate, to_rate)) {
  constexpr double kZeros = 24, kRolloff = 0.945;
  const double rate = kRolloff * double(std::min(from_, to_));
  width_ = int64_t(std::ceil(kZeros * double(from_) / rate));
  const at::Tensor places = at::arange(-width_, width_ + from_, at::kDouble) / double(from_);
  std::vector<at::Tensor> kernels;
  for (int64_t phase = 0; phase < to_; ++phase) {
    const at::Tensor t =
        ((places - double(phase) / double(to_)) * rate).clamp(-kZeros, kZeros) * std::numbers::pi;
    const at::Tensor kernel = at::where(t == 0, 1.0, t.sin() / t) * (t / (2 * kZeros)).cos().square();
    kernels.push_back(kernel / kernel.sum());  // a constant stays as it is
  }
  kernels_ = at::stack(kernels).unsqueeze(1).to(at::kFloat);
}

at::Tensor SincResample::operator()(const at::Tensor& signal) const {
  if (from_ == to_) return signal;
  const int64_t length = signal.size(2);
  const at::Tensor padded =
      at::replication_pad1d(signal.flatten(0, 1).unsqueeze(1), {width_, width_ + from_});
  if (kernels_.device() != signal.device()) kernels_ = kernels_.to(signal.device());  // once
  const at::Tensor phases = at::conv1d(padded, kernels_.to(signal.scalar_type()), {}, from_);
  const at::Tensor merged = phases.transpose(1, 2).flatten(1).narrow(1, 0, length * to_ / from_);
  return merged.view({signal.size(0), signal.size(1), -1});
}

}  // namespace diffq
