// Data-efficient image transformers (DeiT, arXiv:2012.12877): a vision transformer over patches of 16 x 16
// pixels. Names of parameters are those of the published checkpoints.
#include <torch/torch.h>

#include "trainer/models/layers.h"
#include "trainer/models/models.h"

namespace diffq {
namespace {

constexpr int64_t kPatch = 16, kDepth = 12, kHeadWidth = 64;

torch::nn::LayerNorm layer_norm(int64_t width) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}).eps(1e-6));
}

class DeitBlock : public torch::nn::Module {
 public:
  DeitBlock(int64_t width, double drop_path) : heads_(width / kHeadWidth), drop_path_(drop_path) {
    norm1_ = register_module("norm1", layer_norm(width));
    const auto attention = register_module("attn", std::make_shared<torch::nn::Module>());
    qkv_ = attention->register_module("qkv", Linear(width, 3 * width));
    proj_ = attention->register_module("proj", Linear(width, width));
    norm2_ = register_module("norm2", layer_norm(width));
    const auto mlp = register_module("mlp", std::make_shared<torch::nn::Module>());
    fc1_ = mlp->register_module("fc1", Linear(width, 4 * width));
    fc2_ = mlp->register_module("fc2", Linear(4 * width, width));
  }

  at::Tensor forward(const at::Tensor& input) {
    const double drop_path = is_training() ? drop_path_ : 0;
    const at::Tensor x = add_branch(input, proj_(self_attention(qkv_(norm1_(input)), heads_)), drop_path);
    return add_branch(x, fc2_(at::gelu(fc1_(norm2_(x)))), drop_path);
  }

 private:
  int64_t heads_;
  double drop_path_;
  torch::nn::LayerNorm norm1_{nullptr}, norm2_{nullptr};
  Linear qkv_{nullptr}, proj_{nullptr}, fc1_{nullptr}, fc2_{nullptr};
};

class Deit : public ImageModel {
 public:
  Deit(const ImageShape& shape, int64_t width, double drop_path) {
    const int64_t patches = (shape.height / kPatch) * (shape.width / kPatch);
    cls_token_ = register_parameter("cls_token", at::empty({1, 1, width}));
    pos_embed_ = register_parameter("pos_embed", at::empty({1, patches + 1, width}));
    const auto embedding = register_module("patch_embed", std::make_shared<torch::nn::Module>());
    proj_ = embedding->register_module(
        "proj", torch::nn::Conv2d(torch::nn::Conv2dOptions(shape.channels, width, kPatch).stride(kPatch)));
    blocks_ = register_module("blocks", torch::nn::ModuleList());
    for (int64_t block = 0; block < kDepth; ++block) {
      blocks_->push_back(std::make_shared<DeitBlock>(width, drop_path * double(block) / double(kDepth - 1)));
    }
    norm_ = register_module("norm", layer_norm(width));
    head_ = register_module("head", Linear(width, shape.classes));
    draw_weights();
  }

  at::Tensor forward(const at::Tensor& input) override {
    const at::Tensor patches = proj_(input).flatten(2).transpose(1, 2);
    at::Tensor x = at::cat({cls_token_.expand({input.size(0), -1, -1}), patches}, 1).add_(pos_embed_);
    for (const auto& block : *blocks_) x = block->as<DeitBlock>()->forward(x);
    return head_(norm_(x.select(1, 0)));
  }

 private:
  // Published: normal with deviation 0.02, cut off at ±2, which is never reached. The convolution of the
  // patches keeps torch's own weights.
  void draw_weights() {
    torch::NoGradGuard no_grad;
    cls_token_.normal_(0, 0.02);
    pos_embed_.normal_(0, 0.02);
    for (const auto& module : modules(/*include_self=*/false)) {
      if (auto* linear = module->as<torch::nn::LinearImpl>()) {
        linear->weight.normal_(0, 0.02);
        linear->bias.zero_();
      }
    }
  }

  at::Tensor cls_token_, pos_embed_;
  torch::nn::Conv2d proj_{nullptr};
  torch::nn::ModuleList blocks_{nullptr};
  torch::nn::LayerNorm norm_{nullptr};
  Linear head_{nullptr};
};

}  // namespace

std::shared_ptr<ImageModel> make_deit(const ImageShape& shape, int64_t width, double drop_path) {
  return std::make_shared<Deit>(shape, width, drop_path);
}

}  // namespace diffq
