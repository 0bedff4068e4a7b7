// The small vision transformer of the CIFAR examples: patches of 4 x 4 pixels, embeddings that start as unit
// normal, attention scaled by the whole width. Names of parameters are the published ones, one level for each
// wrapper.
#include <torch/torch.h>

#include "trainer/models/layers.h"
#include "trainer/models/models.h"

namespace diffq {
namespace {

using torch::nn::Dropout;
using torch::nn::GELU;
using torch::nn::LayerNorm;
using torch::nn::LayerNormOptions;
using torch::nn::LinearOptions;
using torch::nn::Sequential;

constexpr int64_t kPatch = 4, kWidth = 512, kDepth = 6, kHeads = 8, kHidden = 512;

class Attention : public torch::nn::Module {
 public:
  explicit Attention(double dropout) {
    to_qkv_ = register_module("to_qkv", Linear(LinearOptions(kWidth, 3 * kWidth).bias(false)));
    to_out_ = register_module("to_out", Sequential(Linear(kWidth, kWidth), Dropout(dropout)));
  }
  at::Tensor forward(const at::Tensor& input) {
    return to_out_->forward(self_attention(to_qkv_(input), kHeads, 1 / std::sqrt(double(kWidth))));
  }

 private:
  Linear to_qkv_{nullptr};
  Sequential to_out_{nullptr};
};

class FeedForward : public torch::nn::Module {
 public:
  explicit FeedForward(double dropout) {
    net_ = register_module("net", Sequential(Linear(kWidth, kHidden), GELU(), Dropout(dropout),
                                             Linear(kHidden, kWidth), Dropout(dropout)));
  }
  at::Tensor forward(const at::Tensor& input) { return net_->forward(input); }

 private:
  Sequential net_{nullptr};
};

template <class Inner>
class NormedResidual : public torch::nn::Module {
 public:
  explicit NormedResidual(double dropout) {
    const auto branch = register_module("fn", std::make_shared<torch::nn::Module>());
    norm_ = branch->register_module("norm", LayerNorm(LayerNormOptions({kWidth})));
    inner_ = branch->register_module("fn", std::make_shared<Inner>(dropout));
  }
  at::Tensor forward(const at::Tensor& input) { return input + inner_->forward(norm_(input)); }

 private:
  LayerNorm norm_{nullptr};
  std::shared_ptr<Inner> inner_;
};

class CifarVit : public ImageModel {
 public:
  CifarVit(const ImageShape& shape, double dropout) : dropout_(dropout) {
    const int64_t patches = (shape.height / kPatch) * (shape.width / kPatch);
    pos_embedding_ = register_parameter("pos_embedding", at::randn({1, patches + 1, kWidth}));
    cls_token_ = register_parameter("cls_token", at::randn({1, 1, kWidth}));
    patch_to_embedding_ =
        register_module("patch_to_embedding", Linear(shape.channels * kPatch * kPatch, kWidth));
    const auto transformer = register_module("transformer", std::make_shared<torch::nn::Module>());
    const auto layers = transformer->register_module("layers", torch::nn::ModuleList());
    for (int64_t layer = 0; layer < kDepth; ++layer) {
      const auto attention = std::make_shared<NormedResidual<Attention>>(dropout);
      const auto feed_forward = std::make_shared<NormedResidual<FeedForward>>(dropout);
      layers->push_back(torch::nn::ModuleList(attention, feed_forward));
      layers_.emplace_back(attention, feed_forward);
    }
    mlp_head_ =
        register_module("mlp_head", Sequential(LayerNorm(LayerNormOptions({kWidth})), Linear(kWidth, kHidden),
                                               GELU(), Dropout(dropout), Linear(kHidden, shape.classes)));
  }

  at::Tensor forward(const at::Tensor& input) override {
    const at::Tensor patches = patch_to_embedding_(patches_of(input));
    at::Tensor x = at::cat({cls_token_.expand({input.size(0), -1, -1}), patches}, 1).add_(pos_embedding_);
    at::dropout_(x, dropout_, is_training());
    for (const auto& [attention, feed_forward] : layers_) x = feed_forward->forward(attention->forward(x));
    return mlp_head_->forward(x.select(1, 0));
  }

 private:
  // A row a patch: its pixels row by row, the channels of each together.
  static at::Tensor patches_of(const at::Tensor& input) {
    const int64_t samples = input.size(0), channels = input.size(1);
    const int64_t rows = input.size(2) / kPatch, columns = input.size(3) / kPatch;
    return input.view({samples, channels, rows, kPatch, columns, kPatch})
        .permute({0, 2, 4, 3, 5, 1})
        .reshape({samples, rows * columns, kPatch * kPatch * channels});
  }

  double dropout_;
  at::Tensor pos_embedding_, cls_token_;
  Linear patch_to_embedding_{nullptr};
  std::vector<
      std::pair<std::shared_ptr<NormedResidual<Attention>>, std::shared_ptr<NormedResidual<FeedForward>>>>
      layers_;
  Sequential mlp_head_{nullptr};
};

}  // namespace

std::shared_ptr<ImageModel> make_cifar_vit(const ImageShape& shape, double dropout) {
  return std::make_shared<CifarVit>(shape, dropout);
}

}  // namespace diffq
