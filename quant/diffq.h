#pragma once
// DiffQ (arXiv:2104.09987): weights are trained with noise as large as the rounding error would be, so that
// the loss can be differentiated with respect to the number of bits of each group of weights.
//   b = bits(logit),  w̃ = w + range / (2^b - 1) ε,  range = max w - min w of the tensor (differentiated as
//   well)
// Further settings, off as published: the range is that of least expected error (quant/clip.h), weights
// beyond it are clipped and it has no gradient; each channel has its own range, without a gradient; the noise
// has the power of rounding; the bits are frozen and rounded; they go down to 0, where a group has vanished:
// below one bit it's b (w + range ε). The noise of a step is drawn once in materialize and once more, the
// same, in pull_back; nothing is stored a weight or a group but the logit and its gradient, which belong to
// the caller.

#include <algorithm>

#include "quant/base_quantizer.h"

namespace diffq {

class DiffQ : public BaseQuantizer {
 public:
  DiffQ(const MethodSpec& method, QuantSpec quant, CodePath path = best_code_path());

  int64_t own_count(int64_t numel) const override;
  void initialize_own() override;
  void pull_back(std::span<const size_t> tensors) override;
  void add_size_gradient(double lambda) override;
  void fit_size(double target_mb) override;
  void freeze() override { frozen_ = true; }
  double expected_size_mb() const override;
  double least_size_mb() override;

  /// The real-valued bits of every group of a tensor, [own_count]; computed in float32 in the published
  /// order, so that they round as published.
  at::Tensor real_bits(size_t tensor) const;
  /// For reference vectors: from now on entry i of tensor t has noise[t][i] instead of what the key draws.
  void use_given_noise(std::vector<at::Tensor> noise);

 protected:
  int64_t group_entries(int64_t numel) const override;
  std::vector<int> group_bits(size_t tensor) const override;
  double stored_bits(size_t tensor) const override;
  int64_t channels(size_t tensor) const override {
    return method_.range == RangeOf::channel ? quantized_[tensor].channels : 1;
  }
  std::vector<Extremes> level_ends(size_t tensor) const override;
  void materialize_tensors(NoiseKey key) override;
  void materialize_tensors_rounded() override;

 private:
  bool clips() const { return method_.clip == Clip::mse; }
  bool vanishes() const { return method_.min_bits == 0; }
  std::vector<float> error_scales(size_t tensor, bool whole_bits) const;
  std::vector<Extremes> find_ends(size_t tensor, const Extremes& all, bool whole_bits) const;
  void set_ends(size_t first, size_t last, bool whole_bits);
  template <class Work>
  void for_channels(const Piece& piece, const Work& work) const;
  void clamp(const Piece& piece) const;
  void widen(const Piece& piece) const;
  void mask_clipped(const Piece& piece);
  static std::vector<float> take_keeps(std::span<float> scales);
  void shrink(const Piece& piece, std::span<const float> keeps) const;
  void pull_back_vanishing(const Piece& piece, std::span<const float> keeps, const float* dots);
  void mask_vanished(size_t tensor);
  /// What scales are multiplied by: the range, unless widen() puts those of channels in.
  float noise_range(size_t tensor) const {
    return (channels(tensor) > 1 ? 1 : extremes_[tensor].range()) * noise_factor_;
  }
  NoiseSource noise_source(size_t tensor) const;
  void materialize_piece(const Piece& piece);
  double pull_back_piece(const Piece& piece);
  void finish_split_groups(size_t tensor);
  void add_range_gradient(size_t tensor);
  double side_bits(size_t tensor, double max_bits) const;
  float logit_of(double bits) const;
  size_t move_bits(int by, std::span<const size_t> tensors, bool widen, double target_mb);

  MethodSpec method_;
  GroupMap map_;
  float noise_factor_ = 1;                   ///< of the noise that the kernels draw
  std::vector<std::vector<Extremes>> ends_;  ///< [tensor][channel] of the levels; set by set_ends
  bool frozen_ = false;
  NoiseKey key_;
  std::vector<at::Tensor> given_noise_;
  std::vector<double>
      piece_sums_;  ///< of the last pull_back: Σ dot * scale, or Σ gradient * noise of a split group
};

/// Calls work(ends, begin, end) for entries [begin, end) of a piece, counted from its first, in one channel.
template <class Work>
void DiffQ::for_channels(const Piece& piece, const Work& work) const {
  const int64_t n = piece.end - piece.begin, count = channels(piece.tensor);
  if (count == 1) return work(extremes_[piece.tensor], 0, n);
  const int64_t length = quantized_[piece.tensor].master.numel() / count;
  for (int64_t begin = 0; begin < n;) {
    const int64_t channel = (piece.begin + begin) / length;
    const int64_t end = std::min((channel + 1) * length - piece.begin, n);
    work(ends_[piece.tensor][static_cast<size_t>(channel)], begin, end);
    begin = end;
  }
}

}  // namespace diffq
