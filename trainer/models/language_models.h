#pragma once
// The language models, by name. They contain no quantization code; parameter names are the published ones.

#include <torch/nn/module.h>

#include <memory>

#include "datasets/dataset.h"
#include "trainer/run_spec.h"

namespace diffq {

class LanguageModel : public torch::nn::Module {
 public:
  /// Sum of the negative log-probabilities (nats) of the targets that count, given the tokens up to each
  /// place; int64 [samples, block] both. The sum is of type `sum_type`: float32 to train, else float64.
  virtual at::Tensor forward(const at::Tensor& input, const at::Tensor& target, at::ScalarType sum_type) = 0;
  /// Chooses what the next step leaves out; the same for the same seed.
  virtual void begin_step(uint64_t seed) = 0;
};

/// Decoder-only Transformer with adaptive input and softmax, norms before each branch and none after the last
/// layer, sinusoidal positions (Baevski and Auli, arXiv:1809.10853). 246,933,504 parameters at its full size
/// with 267,744 tokens. Initial weights come from torch's default generator. Throws std::invalid_argument if
/// the vocabulary does not reach beyond the last cut-off.
std::shared_ptr<LanguageModel> make_transformer_lm(const ModelSpec& spec, const TextShape& shape);

}  // namespace diffq
