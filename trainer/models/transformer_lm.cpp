#include <torch/torch.h>

#include <cmath>
#include <stdexcept>

#include "quant/quantizer.h"
#include "trainer/models/adaptive_tokens.h"
#include "trainer/models/language_models.h"
#include "trainer/models/layers.h"

namespace diffq {
namespace {

using torch::nn::LayerNorm;
using torch::nn::LayerNormOptions;

struct Rates {
  double dropout, attention, activation;
};

Linear linear(int64_t in, int64_t out, double gain = 1) {
  Linear layer(in, out);
  torch::nn::init::xavier_uniform_(layer->weight, gain);
  torch::nn::init::zeros_(layer->bias);
  return layer;
}

class Attention : public torch::nn::Module {
 public:
  Attention(int64_t dim, int64_t heads, double dropout) : heads_(heads), dropout_(dropout) {
    // As if queries, keys and values were one matrix of [3 dim, dim].
    const double gain = 1 / std::sqrt(2.0);
    k_proj_ = register_module("k_proj", linear(dim, dim, gain));
    v_proj_ = register_module("v_proj", linear(dim, dim, gain));
    q_proj_ = register_module("q_proj", linear(dim, dim, gain));
    out_proj_ = register_module("out_proj", linear(dim, dim));
  }

  at::Tensor forward(const at::Tensor& x) {
    const auto by_head = [&](Linear& projection) {
      return projection(x).view({x.size(0), x.size(1), heads_, -1}).transpose(1, 2);
    };
    const at::Tensor mixed =
        at::scaled_dot_product_attention(by_head(q_proj_), by_head(k_proj_), by_head(v_proj_), {},
                                         is_training() ? dropout_ : 0.0, /*is_causal=*/true);
    return out_proj_(mixed.transpose(1, 2).reshape(x.sizes()));
  }

 private:
  int64_t heads_;
  double dropout_;
  Linear k_proj_{nullptr}, v_proj_{nullptr}, q_proj_{nullptr}, out_proj_{nullptr};
};

class Layer : public torch::nn::Module {
 public:
  Layer(const TransformerSpec& spec, const Rates& rates) : rates_(rates) {
    attention_ =
        register_module("self_attn", std::make_shared<Attention>(spec.dim, spec.heads, rates.attention));
    attention_norm_ = register_module("self_attn_layer_norm", LayerNorm(LayerNormOptions({spec.dim})));
    fc1_ = register_module("fc1", linear(spec.dim, spec.ffn));
    fc2_ = register_module("fc2", linear(spec.ffn, spec.dim));
    final_norm_ = register_module("final_layer_norm", LayerNorm(LayerNormOptions({spec.dim})));
  }

  at::Tensor forward(const at::Tensor& x) {
    const at::Tensor middle = x + dropped(attention_->forward(attention_norm_(x)), rates_.dropout);
    const at::Tensor hidden = dropped(at::relu(fc1_(final_norm_(middle))), rates_.activation);
    return middle + dropped(fc2_(hidden), rates_.dropout);
  }

 private:
  at::Tensor dropped(const at::Tensor& x, double rate) const { return at::dropout(x, rate, is_training()); }

  Rates rates_;
  std::shared_ptr<Attention> attention_;
  LayerNorm attention_norm_{nullptr}, final_norm_{nullptr};
  Linear fc1_{nullptr}, fc2_{nullptr};
};

// Sines in the first half of the width, cosines in the second; the first place is 2 (the published code
// counts on from the number of its padding token).
at::Tensor sinusoids(int64_t places, int64_t dim) {
  const int64_t half = dim / 2;
  const double step = std::log(10000.0) / static_cast<double>(std::max<int64_t>(1, half - 1));
  const at::Tensor frequencies = at::arange(half, at::kDouble).mul(-step).exp();
  const at::Tensor angles = at::outer(at::arange(2, 2 + places, at::kDouble), frequencies);
  return at::cat({angles.sin(), angles.cos()}, 1).to(at::kFloat);
}

class TransformerLm : public LanguageModel {
 public:
  TransformerLm(const TransformerSpec& spec, double dropout, const TextShape& shape)
      : spec_(spec), dropout_(dropout), left_out_(static_cast<size_t>(spec.layers), false) {
    TokenBands bands{spec.dim, spec.cutoffs, spec.factor};
    bands.ends.push_back(shape.vocabulary);
    const auto decoder = register_module("decoder", std::make_shared<torch::nn::Module>());
    input_ = decoder->register_module("embed_tokens", std::make_shared<AdaptiveInput>(bands));
    const auto layers = decoder->register_module("layers", torch::nn::ModuleList());
    for (int64_t i = 0; i < spec.layers; ++i) {
      layers_.push_back(
          std::make_shared<Layer>(spec, Rates{dropout, spec.attention_dropout, spec.activation_dropout}));
      layers->push_back(layers_.back());
    }
    softmax_ = decoder->register_module("adaptive_softmax",
                                        std::make_shared<AdaptiveSoftmax>(*input_, spec.softmax_dropout));
  }

  at::Tensor forward(const at::Tensor& input, const at::Tensor& target, at::ScalarType sum_type) override {
    const at::Tensor hidden = hidden_states(input).reshape({-1, spec_.dim});
    const at::Tensor targets = target.reshape({-1});
    const at::Tensor places = targets.ne(kNoTarget).nonzero().squeeze(1);
    if (places.size(0) == targets.size(0)) return softmax_->forward(hidden, targets, sum_type);
    return softmax_->forward(hidden.index_select(0, places), targets.index_select(0, places), sum_type);
  }

  // Each layer on its own, by the hash of (seed, layer).
  void begin_step(uint64_t seed) override {
    for (size_t i = 0; i < left_out_.size(); ++i)
      left_out_[i] = std::ldexp(static_cast<double>(mix_seed(seed, i) >> 11), -53) < spec_.layer_drop;
  }

 private:
  at::Tensor hidden_states(const at::Tensor& input) {
    if (!positions_.defined() || positions_.size(0) < input.size(1))
      positions_ = sinusoids(input.size(1), spec_.dim).to(input.device());
    at::Tensor x = input_->forward(input) * std::sqrt(static_cast<double>(spec_.dim)) +
                   positions_.narrow(0, 0, input.size(1));
    x = at::dropout(x, dropout_, is_training());
    for (size_t i = 0; i < layers_.size(); ++i) {
      if (!is_training() || !left_out_[i]) x = layers_[i]->forward(x);
    }
    return x;
  }

  TransformerSpec spec_;
  double dropout_;
  std::vector<bool> left_out_;
  std::shared_ptr<AdaptiveInput> input_;
  std::vector<std::shared_ptr<Layer>> layers_;
  std::shared_ptr<AdaptiveSoftmax> softmax_;
  at::Tensor positions_;  ///< made when first needed; no part of the model's file
};

}  // namespace

std::shared_ptr<LanguageModel> make_transformer_lm(const ModelSpec& spec, const TextShape& shape) {
  const TransformerSpec& transformer = spec.transformer;
  if (!transformer.cutoffs.empty() && transformer.cutoffs.back() >= shape.vocabulary) {
    throw std::invalid_argument("model.cutoffs: the last, " + std::to_string(transformer.cutoffs.back()) +
                                ", must be below the vocabulary of the data, " +
                                std::to_string(shape.vocabulary) + "; [] is one softmax over all");
  }
  const double dropout = spec.rates.dropout.value_or(*usual_rates(spec.name).dropout);
  return std::make_shared<TransformerLm>(transformer, dropout, shape);
}

}  // namespace diffq
