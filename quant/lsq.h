#pragma once
// LSQ (arXiv:1902.08153): w̃ = scale * round(clamp(w / scale, -2^(b-1), 2^(b-1) - 1)), with one learned scale
// a tensor. Weights inside the clip take the gradient as it is, those outside none.

#include "quant/base_quantizer.h"
#include "quant/grid.h"

namespace diffq {

/// What constrain_own keeps scales from falling below.
inline constexpr float kLeastScale = 1e-8f;

class Lsq : public BaseQuantizer {
 public:
  Lsq(const MethodSpec& method, QuantSpec quant, CodePath path = best_code_path());

  int64_t own_count(int64_t) const override { return 1; }
  /// 2 mean|w| / sqrt(2^(b-1))
  void initialize_own() override;
  void pull_back(std::span<const size_t> tensors) override;
  /// A scale that turned negative would turn the tensor's sign: kept >= kLeastScale.
  void constrain_own() override;
  LevelGrid grid() const override { return LevelGrid::scale; }

 protected:
  std::vector<int> group_bits(size_t) const override { return {bits_}; }
  double stored_bits(size_t tensor) const override;
  std::vector<Extremes> level_ends(size_t tensor) const override;
  void materialize_tensors(NoiseKey) override { materialize_tensors_rounded(); }
  void materialize_tensors_rounded() override;

 private:
  /// Gradient of one piece's weights, in place; returns the piece's part of Σ gradient * ∂w̃/∂scale.
  double pull_back_piece(const Piece& piece);

  int bits_;
  ScaleLevels levels_;
  std::vector<double> piece_sums_;
};

}  // namespace diffq
