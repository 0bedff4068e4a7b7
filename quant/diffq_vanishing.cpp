// Groups with less than one bit. Between one bit and none their weights shrink with the bits that are left:
// w̃ = b (w + range ε), which is DiffQ's at one bit and 0, as rounded, at none.

#include <cmath>
#include <numbers>

#include "quant/clip.h"
#include "quant/diffq.h"
#include "quant/ordered_sum.h"

namespace diffq {

/// Of every group the part that is kept, min(b, 1), from its scale 1 / (2^b - 1), which becomes at most 1.
std::vector<float> DiffQ::take_keeps(std::span<float> scales) {
  std::vector<float> keeps(scales.size(), 1.0f);
  for (size_t k = 0; k < scales.size(); ++k) {
    if (!(scales[k] > 1)) continue;
    keeps[k] = std::log1p(1 / scales[k]) * std::numbers::log2e_v<float>;
    scales[k] = 1;
  }
  return keeps;
}

/// compute times what is kept.
void DiffQ::shrink(const Piece& piece, std::span<const float> keeps) const {
  const QuantizedTensor& tensor = quantized_[piece.tensor];
  const int64_t n = piece.end - piece.begin, group_size = group_entries(tensor.master.numel());
  float* compute = tensor.compute.data_ptr<float>() + piece.begin;
  for (int64_t i = 0; i < n; ++i) compute[i] *= keeps[static_cast<size_t>(i / group_size)];
}

/// Of groups below one bit: ∂/∂logit from Σ gradient · (w + range ε), and ∂/∂w of what is kept. `dots`: Σ
/// gradient · ε of every group.
void DiffQ::pull_back_vanishing(const Piece& piece, std::span<const float> keeps, const float* dots) {
  const QuantizedTensor& tensor = quantized_[piece.tensor];
  const int64_t n = piece.end - piece.begin, group_size = group_entries(tensor.master.numel());
  const int64_t first = piece.begin / group_size;
  float* gradient = tensor.gradient.data_ptr<float>() + piece.begin;
  float* own_gradient = tensor.own_gradient.data_ptr<float>() + first;
  const float* weights = tensor.master.const_data_ptr<float>() + piece.begin;
  std::vector<float> clamped;
  if (clips()) {
    clamped.assign(weights, weights + n);
    for_channels(piece, [&](Extremes ends, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        float& weight = clamped[static_cast<size_t>(i)];
        weight = clipped(weight, ends);
      }
    });
    weights = clamped.data();
  }
  std::vector<float> slopes(keeps.size() + kGroupPadding, 0.0f);
  kernels_.add_bits_slopes(map_, tensor.own.const_data_ptr<float>() + first,
                           static_cast<int64_t>(keeps.size()), 1.0f, slopes.data());
  const float range = noise_range(piece.tensor);
  for (size_t k = 0; k < keeps.size(); ++k) {
    if (keeps[k] == 1) continue;
    const int64_t begin = static_cast<int64_t>(k) * group_size, count = std::min(group_size, n - begin);
    const double whole =
        ordered_dot(gradient + begin, weights + begin, count) + double{range} * double{dots[k]};
    own_gradient[k] = static_cast<float>(whole * double{slopes[k]});
    for (int64_t i = begin; i < begin + count; ++i) gradient[i] *= keeps[k];
  }
}

/// With frozen bits, weights of groups without any have no say.
void DiffQ::mask_vanished(size_t t) {
  const QuantizedTensor& tensor = quantized_[t];
  const int64_t numel = tensor.master.numel(), group_size = group_entries(numel);
  const std::vector<int> bits = group_bits(t);
  float* gradient = tensor.gradient.data_ptr<float>();
  for (int64_t i = 0; i < numel; ++i) {
    if (bits[static_cast<size_t>(i / group_size)] == 0) gradient[i] = 0;
  }
}

}  // namespace diffq
