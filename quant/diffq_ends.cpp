// DiffQ's ranges: where the levels of a tensor or channel end, clipped or not, and what that means for
// weights and gradients.

#include "quant/clip.h"
#include "quant/diffq.h"
#include "quant/grid.h"
#include "quant/half.h"

namespace diffq {
namespace {

/// Σ scale² over entries [begin, end) of a tensor, over their number.
double mean_square(std::span<const float> scales, int64_t group_size, int64_t begin, int64_t end) {
  double squares = 0;
  for (int64_t k = begin / group_size; k * group_size < end; ++k) {
    const double scale = scales[static_cast<size_t>(k)];
    const int64_t entries = std::min((k + 1) * group_size, end) - std::max(k * group_size, begin);
    squares += scale * scale * static_cast<double>(entries);
  }
  return squares / static_cast<double>(end - begin);
}

/// As a packed file has the ends of a channel: around all that is between them.
Extremes stored(Extremes ends) { return {half_below(ends.min), -half_below(-ends.max)}; }

}  // namespace

/// Of every group what its rounding errors are in proportion to: its scale, or 0 for one that has vanished.
std::vector<float> DiffQ::error_scales(size_t t, bool whole_bits) const {
  const QuantizedTensor& tensor = quantized_[t];
  std::vector<float> scales(static_cast<size_t>(tensor.own.numel() + kGroupPadding));
  if (whole_bits) {
    const std::vector<int> bits = group_bits(t);
    for (size_t k = 0; k < bits.size(); ++k) scales[k] = bits[k] > 0 ? 1 / Grid::top_of(bits[k]) : 0;
    return scales;
  }
  kernels_.group_scales(map_, tensor.own.const_data_ptr<float>(), tensor.own.numel(), scales.data(), nullptr);
  if (vanishes()) {
    const std::vector<float> keeps = take_keeps(scales);
    for (size_t k = 0; k < keeps.size(); ++k) scales[k] *= keeps[k];
  }
  return scales;
}

/// Ends of the levels of each channel; `all`: extremes of the tensor. Those that are used with whole bits are
/// as stored.
std::vector<Extremes> DiffQ::find_ends(size_t t, const Extremes& all, bool whole_bits) const {
  const QuantizedTensor& tensor = quantized_[t];
  const int64_t numel = tensor.master.numel(), count = channels(t), length = numel / count;
  const float* master = tensor.master.const_data_ptr<float>();
  const std::vector<float> scales = clips() ? error_scales(t, whole_bits) : std::vector<float>();
  std::vector<Extremes> ends(static_cast<size_t>(count), all);
  for (int64_t channel = 0; channel < count; ++channel) {
    const int64_t begin = channel * length;
    Extremes& found = ends[static_cast<size_t>(channel)];
    if (count > 1) {
      kernels_.extremes(master + begin, length, &found.min, &found.max);
      found = join_extremes({&found, 1});
    }
    if (clips()) {
      const double square = mean_square(scales, group_entries(numel), begin, begin + length);
      found = least_error_ends(master + begin, length, square, found);
    }
    if (count > 1 && whole_bits) found = stored(found);
  }
  return ends;
}

/// Puts the ends of tensors [first, last) in the place of their extremes, or beside them if they have
/// several.
void DiffQ::set_ends(size_t first, size_t last, bool whole_bits) {
  if (!clips() && method_.range == RangeOf::tensor) return;
  ends_.resize(quantized_.size());
  for_each_piece(last - first, [&](size_t i) {
    const size_t t = first + i;
    ends_[t] = find_ends(t, extremes_[t], whole_bits);
    if (ends_[t].size() == 1) extremes_[t] = ends_[t][0];
  });
}

std::vector<Extremes> DiffQ::level_ends(size_t t) const {
  return find_ends(t, tensor_extremes(t), /*whole_bits=*/true);
}

/// compute = master, clipped.
void DiffQ::clamp(const Piece& piece) const {
  const QuantizedTensor& tensor = quantized_[piece.tensor];
  const float* master = tensor.master.const_data_ptr<float>() + piece.begin;
  float* compute = tensor.compute.data_ptr<float>() + piece.begin;
  for_channels(piece, [&](Extremes ends, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) compute[i] = clipped(master[i], ends);
  });
}

/// compute holds noise in units of ranges, of one a channel: puts them in and adds the weights.
void DiffQ::widen(const Piece& piece) const {
  const QuantizedTensor& tensor = quantized_[piece.tensor];
  const float* master = tensor.master.const_data_ptr<float>() + piece.begin;
  float* compute = tensor.compute.data_ptr<float>() + piece.begin;
  const bool clip = clips();
  for_channels(piece, [&](Extremes ends, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float weight = clip ? clipped(master[i], ends) : master[i];
      compute[i] = weight + ends.range() * compute[i];
    }
  });
}

/// A clipped weight has no say in what the model sees.
void DiffQ::mask_clipped(const Piece& piece) {
  const QuantizedTensor& tensor = quantized_[piece.tensor];
  const float* master = tensor.master.const_data_ptr<float>() + piece.begin;
  float* gradient = tensor.gradient.data_ptr<float>() + piece.begin;
  for_channels(piece, [&](Extremes ends, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (master[i] < ends.min || master[i] > ends.max) gradient[i] = 0;
    }
  });
}

}  // namespace diffq
