#pragma once
// The smallest quantizer that shows whether it is called rightly: doubles the weights of tensors of at least
// `threshold` entries, counts calls, and throws where a test asks for it. Own parameter: one a tensor, whose
// gradient is the sum of the tensor's (as it came in).

#include <ATen/ATen.h>

#include <stdexcept>

#include "quant/quantizer.h"

namespace diffq {

class FakeQuantizer : public Quantizer {
 public:
  explicit FakeQuantizer(int64_t threshold = 0, bool copies_kept = false)
      : threshold_(threshold), copies_kept_(copies_kept) {}

  bool selects(const std::string&, int64_t numel) const override { return numel >= threshold_; }
  int64_t own_count(int64_t) const override { return 1; }
  bool copies_kept() const override { return copies_kept_; }
  void bind(std::vector<QuantizedTensor> quantized, std::vector<KeptTensor> kept) override {
    quantized_ = std::move(quantized);
    kept_ = std::move(kept);
    pulls.assign(quantized_.size(), 0);
  }
  void initialize_own() override {
    for (const auto& tensor : quantized_) tensor.own.fill_(1);
  }
  void materialize(NoiseKey key) override {
    last_key = key;
    if (throw_in == "materialize") throw std::runtime_error("materialize failed");
    for (const auto& tensor : quantized_) tensor.compute.copy_(tensor.master * 2);
    for (const auto& tensor : kept_) {
      if (!tensor.compute.is_same(tensor.master)) tensor.compute.copy_(tensor.master);
    }
  }
  void materialize_rounded() override {
    if (throw_in == "materialize_rounded") throw std::runtime_error("materialize_rounded failed");
    materialize({});
  }
  void pull_back(std::span<const size_t> tensors) override {
    ++pull_back_calls;
    for (const size_t index : tensors) {
      const auto& tensor = quantized_[index];
      if (tensor.name == throw_at) throw std::runtime_error("pull_back of " + tensor.name + " failed");
      ++pulls[index];
      tensor.own_gradient.copy_(tensor.gradient.sum().reshape({1}));
      tensor.gradient.mul_(2);
    }
  }
  void add_size_gradient(double lambda) override {
    if (throw_in == "add_size_gradient") throw std::runtime_error("add_size_gradient failed");
    for (const auto& tensor : quantized_) tensor.own_gradient.add_(lambda);
  }
  void constrain_own() override {}
  double expected_size_mb() const override { return 0; }
  double size_mb() const override { return 0; }
  std::vector<TensorBits> bits() const override { return {}; }
  LevelGrid grid() const override { return LevelGrid::range; }
  TensorLayout layout(size_t t) const override { return {quantized_.at(t).master.numel(), 1}; }
  std::vector<uint8_t> pack(size_t, Coding) const override {
    throw std::logic_error("the fake packs nothing");
  }

  const std::vector<QuantizedTensor>& quantized() const { return quantized_; }
  const std::vector<KeptTensor>& kept() const { return kept_; }

  std::vector<int> pulls;  ///< of each quantised tensor
  int pull_back_calls = 0;
  NoiseKey last_key;
  std::string throw_in;  ///< name of a function, or ""
  std::string throw_at;  ///< name of a tensor whose pull_back throws, or ""

 private:
  int64_t threshold_;
  bool copies_kept_;
  std::vector<QuantizedTensor> quantized_;
  std::vector<KeptTensor> kept_;
};

}  // namespace diffq
