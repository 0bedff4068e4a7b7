#include "trainer/models/adaptive_tokens.h"

#include <torch/torch.h>

#include <cmath>

namespace diffq {
namespace {

using torch::nn::Module;

/// A module that holds one parameter `weight` and nothing else.
std::shared_ptr<Module> holder(const at::Tensor& weight) {
  auto module = std::make_shared<Module>();
  module->register_parameter("weight", weight);
  return module;
}

// Logits may be of lower precision, losses are not.
at::Tensor sum_of_losses(const at::Tensor& logits, const at::Tensor& targets, at::ScalarType type) {
  const at::Tensor exact = logits.to(at::kFloat);
  if (type == at::kFloat) return at::cross_entropy_loss(exact, targets, {}, at::Reduction::Sum);
  return at::cross_entropy_loss(exact, targets, {}, at::Reduction::None).sum(type);
}

}  // namespace

int64_t TokenBands::width(size_t band) const {
  int64_t width = dim;
  for (size_t k = 0; k < band; ++k) width /= factor;
  return width;
}

AdaptiveInput::AdaptiveInput(TokenBands bands) : bands_(std::move(bands)) {
  const auto list = register_module("embeddings", std::make_shared<Module>());
  for (size_t band = 0; band < bands_.count(); ++band) {
    const int64_t width = bands_.width(band);
    embeddings_.push_back(at::empty({bands_.tokens(band), width}));
    projections_.push_back(at::empty({bands_.dim, width}));
    torch::nn::init::normal_(embeddings_.back(), 0, 1 / std::sqrt(double(width)));
    torch::nn::init::xavier_uniform_(projections_.back());
    const auto entry = list->register_module(std::to_string(band), std::make_shared<Module>());
    entry->register_module("0", holder(embeddings_.back()));
    entry->register_module("1", holder(projections_.back()));
  }
}

at::Tensor AdaptiveInput::forward(const at::Tensor& tokens) const {
  const at::Tensor flat = tokens.reshape({-1});
  const auto embed = [&](size_t band, const at::Tensor& ids) {
    return at::linear(at::embedding(embeddings_[band], ids - bands_.begin(band)), projections_[band]);
  };
  std::vector<int64_t> sizes = tokens.sizes().vec();
  sizes.push_back(bands_.dim);
  if (bands_.count() == 1) return embed(0, flat).view(sizes);
  at::Tensor result = at::empty({flat.size(0), bands_.dim}, embeddings_[0].options().requires_grad(false));
  for (size_t band = 0; band < bands_.count(); ++band) {
    const at::Tensor places =
        flat.ge(bands_.begin(band)).logical_and_(flat.lt(bands_.ends[band])).nonzero().squeeze(1);
    if (places.size(0) > 0)
      result.index_copy_(0, places, embed(band, flat.index_select(0, places)).to(result.scalar_type()));
  }
  return result.view(sizes);
}

AdaptiveSoftmax::AdaptiveSoftmax(const AdaptiveInput& input, double dropout)
    : bands_(input.bands()), dropout_(dropout) {
  words_ = input.embedding(0);
  const auto head = register_module("head", std::make_shared<Module>());
  head->register_module("word_proj", holder(words_));
  const auto further = static_cast<int64_t>(bands_.count()) - 1;
  if (further == 0) return;
  classes_ = at::empty({further, bands_.dim});
  torch::nn::init::xavier_uniform_(classes_);
  head->register_module("class_proj", holder(classes_));
  const auto tail = register_module("tail", std::make_shared<Module>());
  for (size_t band = 1; band < bands_.count(); ++band) {
    projections_.push_back(input.projection(band));
    tails_.push_back(input.embedding(band));
    const auto entry = tail->register_module(std::to_string(band - 1), std::make_shared<Module>());
    entry->register_module("0", holder(projections_.back()));
    entry->register_module("2", holder(tails_.back()));
  }
}

at::Tensor AdaptiveSoftmax::forward(const at::Tensor& hidden, const at::Tensor& targets,
                                    at::ScalarType sum_type) const {
  const at::Tensor x = at::dropout(hidden, dropout_, is_training());
  // One matrix for the whole head: copying the weights costs less than copying the logits.
  const at::Tensor head = classes_.defined() ? at::cat({words_, classes_}) : words_;
  at::Tensor head_targets = targets;
  at::Tensor sum = at::zeros({}, hidden.options().dtype(sum_type));
  for (size_t k = 0; k < tails_.size(); ++k) {
    const size_t band = k + 1;
    const at::Tensor in_band = targets.ge(bands_.begin(band)).logical_and_(targets.lt(bands_.ends[band]));
    const at::Tensor places = in_band.nonzero().squeeze(1);
    if (places.size(0) == 0) continue;
    head_targets = head_targets.masked_fill(in_band, bands_.ends[0] + static_cast<int64_t>(k));
    const at::Tensor narrow =
        at::dropout(at::matmul(x.index_select(0, places), projections_[k]), dropout_, is_training());
    sum = sum + sum_of_losses(at::linear(narrow, tails_[k]),
                              targets.index_select(0, places) - bands_.begin(band), sum_type);
  }
  return sum + sum_of_losses(at::linear(x, head), head_targets, sum_type);
}

}  // namespace diffq
