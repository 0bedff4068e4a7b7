#pragma once
// What all quantizers share: which tensors they take, the tensors they keep as they are, and the cutting into
// pieces. A method adds its own maps; its default here is to change nothing and to have no parameters.

#include <vector>

#include "quant/kernels.h"
#include "quant/pieces.h"
#include "quant/quantizer.h"

namespace diffq {

class BaseQuantizer : public Quantizer {
 public:
  explicit BaseQuantizer(QuantSpec quant, CodePath path = best_code_path());

  bool selects(const std::string& name, int64_t numel) const override;
  int64_t own_count(int64_t) const override { return 0; }
  bool copies_kept() const override { return quant_.float16; }

  void bind(std::vector<QuantizedTensor> quantized, std::vector<KeptTensor> kept) override;
  void initialize_own() override {}

  void materialize(NoiseKey key) override;
  void materialize_rounded() override;
  void pull_back(std::span<const size_t>) override {}
  void add_size_gradient(double) override {}
  void constrain_own() override {}

  double expected_size_mb() const override { return size_mb(); }
  std::vector<TensorBits> bits() const override;
  double size_mb() const override;
  LevelGrid grid() const override { return LevelGrid::range; }
  TensorLayout layout(size_t tensor) const override;
  std::vector<uint8_t> pack(size_t tensor, Coding coding) const override;

 protected:
  /// Entries a piece may not mix: the method's group size for a tensor of `numel` entries.
  virtual int64_t group_entries(int64_t numel) const { return numel; }
  /// Rounded bits of every group of a tensor.
  virtual std::vector<int> group_bits(size_t tensor) const = 0;
  /// Parts of a tensor with ends of their own.
  virtual int64_t channels(size_t) const { return 1; }
  /// What the levels of a tensor lie between, [channels]; of grid scale the scale, in `min`.
  virtual std::vector<Extremes> level_ends(size_t tensor) const { return {tensor_extremes(tensor)}; }
  /// Bits of a tensor as stored: levels and all that is needed to restore the weights from them.
  virtual double stored_bits(size_t tensor) const = 0;
  /// compute of one quantised tensor, from its master.
  virtual void materialize_tensors(NoiseKey key) = 0;
  virtual void materialize_tensors_rounded() = 0;

  /// 32 bits, or 16, an entry of what is not quantised.
  double kept_bits() const;
  /// Sets the extremes of the master weights of tensors [first, last) and of their pieces.
  void find_extremes(size_t first, size_t last);
  void find_extremes() { find_extremes(0, quantized_.size()); }
  /// Extremes of the master weights of one tensor, afresh.
  Extremes tensor_extremes(size_t tensor) const;

  QuantSpec quant_;
  const KernelTable& kernels_;
  std::vector<QuantizedTensor> quantized_;
  std::vector<KeptTensor> kept_;
  std::vector<Piece> pieces_;             ///< of all quantised tensors, in order
  std::vector<PieceSpan> spans_;          ///< one a tensor
  std::vector<Extremes> piece_extremes_;  ///< set by find_extremes
  std::vector<Extremes> extremes_;        ///< one a tensor; set by find_extremes
};

}  // namespace diffq
