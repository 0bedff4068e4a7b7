// DiffQ with clipped ranges: where the levels end, and what that means for gradients.

#include "quant/clip.h"
#include "quant/diffq.h"
#include "quant/grid.h"

namespace diffq {

/// Bits of a group of one tensor weigh as its entries do.
Extremes DiffQ::clipped_ends(size_t t, const Extremes& all, bool whole_bits) const {
  const QuantizedTensor& tensor = quantized_[t];
  const int64_t numel = tensor.master.numel(), group_size = group_entries(numel);
  std::vector<float> scales(static_cast<size_t>(tensor.own.numel() + kGroupPadding));
  if (whole_bits) {
    const std::vector<int> bits = group_bits(t);
    for (size_t k = 0; k < bits.size(); ++k) scales[k] = 1 / Grid::top_of(bits[k]);
  } else {
    kernels_.group_scales(map_, tensor.own.const_data_ptr<float>(), tensor.own.numel(), scales.data(),
                          nullptr);
  }
  double squares = 0;
  for (int64_t k = 0; k < tensor.own.numel(); ++k) {
    const double scale = scales[static_cast<size_t>(k)];
    squares += scale * scale * static_cast<double>(std::min(group_size, numel - k * group_size));
  }
  return least_error_ends(tensor.master.const_data_ptr<float>(), numel, squares / static_cast<double>(numel),
                          all);
}

/// Puts the clipped ends of tensors [first, last) in the place of their extremes.
void DiffQ::clip_ends(size_t first, size_t last, bool whole_bits) {
  if (!clips()) return;
  for_each_piece(last - first, [&](size_t i) {
    extremes_[first + i] = clipped_ends(first + i, extremes_[first + i], whole_bits);
  });
}

Extremes DiffQ::level_ends(size_t t) const {
  const Extremes all = tensor_extremes(t);
  return clips() ? clipped_ends(t, all, /*whole_bits=*/true) : all;
}

/// A clipped weight has no say in what the model sees.
void DiffQ::mask_clipped(const Piece& piece) {
  const QuantizedTensor& tensor = quantized_[piece.tensor];
  const Extremes ends = extremes_[piece.tensor];
  const float* master = tensor.master.const_data_ptr<float>();
  float* gradient = tensor.gradient.data_ptr<float>();
  for (int64_t i = piece.begin; i < piece.end; ++i) {
    if (master[i] < ends.min || master[i] > ends.max) gradient[i] = 0;
  }
}

}  // namespace diffq
