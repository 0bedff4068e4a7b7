#pragma once
// Embeddings and softmax of a large vocabulary (Grave et al., arXiv:1609.04309; Baevski and Auli,
// arXiv:1809.10853): tokens are in bands, of which the later (rarer) ones have shorter embeddings. Input and
// output share the embeddings and the projections between their width and the model's.

#include <torch/nn/module.h>

#include <vector>

namespace diffq {

struct TokenBands {
  int64_t dim = 0;  ///< the model's width
  std::vector<int64_t>
      ends;  ///< band k holds the tokens from the end of band k - 1 on; the last is the vocabulary
  int64_t factor = 1;

  size_t count() const { return ends.size(); }
  int64_t begin(size_t band) const { return band == 0 ? 0 : ends[band - 1]; }
  int64_t tokens(size_t band) const { return ends[band] - begin(band); }
  int64_t width(size_t band) const;  ///< of its embeddings: dim / factor^band
};

/// Names: embeddings.BAND.0.weight [tokens, width], embeddings.BAND.1.weight [dim, width].
class AdaptiveInput : public torch::nn::Module {
 public:
  explicit AdaptiveInput(TokenBands bands);
  /// int64 of any shape -> [..., dim]
  at::Tensor forward(const at::Tensor& tokens) const;

  const TokenBands& bands() const { return bands_; }
  const at::Tensor& embedding(size_t band) const { return embeddings_[band]; }
  const at::Tensor& projection(size_t band) const { return projections_[band]; }

 private:
  TokenBands bands_;
  std::vector<at::Tensor> embeddings_, projections_;
};

/// The first softmax is over the tokens of band 0 and one class for each further band; a token there has the
/// probability of the class times that of the token in its band. The tied names: head.word_proj.weight,
/// tail.K.0.weight (the projection of band K + 1, applied transposed), tail.K.2.weight; of its own:
/// head.class_proj.weight [bands - 1, dim].
class AdaptiveSoftmax : public torch::nn::Module {
 public:
  AdaptiveSoftmax(const AdaptiveInput& input, double dropout);
  /// hidden [n, dim], targets int64 [n] -> sum of the negative log-probabilities, in the type of `sum_type`.
  at::Tensor forward(const at::Tensor& hidden, const at::Tensor& targets, at::ScalarType sum_type) const;

 private:
  TokenBands bands_;
  double dropout_;
  at::Tensor words_, classes_;
  std::vector<at::Tensor> projections_, tails_;
};

}  // namespace diffq
