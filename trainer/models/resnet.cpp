// The residual networks of the CIFAR examples: one shape with two ways to get past a change of width. Names
// of parameters and their order are the published ones. Batch normalisation needs its input in backward, not
// its output: sum and ReLU overwrite the latter.
#include <torch/torch.h>

#include "trainer/models/layers.h"
#include "trainer/models/models.h"

namespace diffq {
namespace {

using torch::nn::Conv2d;

/// How the input of a block is added to an output of another size.
enum class Shortcut {
  padded,       ///< without parameters: every other pixel, and zeros for the new channels on both sides
  convolution,  ///< 1 x 1 and batch normalisation
};

struct ResNetShape {
  std::vector<int64_t> widths;  ///< of the stages; each but the first halves height and width
  int64_t blocks;               ///< a stage
  Shortcut shortcut;
};

class BasicBlock : public torch::nn::Module {
 public:
  BasicBlock(int64_t in, int64_t out, int64_t stride, Shortcut shortcut) : stride_(stride), added_(out - in) {
    conv1_ = register_module("conv1", convolution(in, out, 3, {.stride = stride}));
    bn1_ = register_module("bn1", torch::nn::BatchNorm2d(out));
    conv2_ = register_module("conv2", convolution(out, out, 3));
    bn2_ = register_module("bn2", torch::nn::BatchNorm2d(out));
    if (shortcut == Shortcut::convolution && !keeps_size()) {
      shortcut_ = register_module(
          "shortcut",
          torch::nn::Sequential(convolution(in, out, 1, {.stride = stride}), torch::nn::BatchNorm2d(out)));
    }
  }

  at::Tensor forward(const at::Tensor& input) {
    const at::Tensor inner = bn1_(conv1_(input)).relu_();
    return bn2_(conv2_(inner)).add_(shortcut(input)).relu_();
  }

 private:
  bool keeps_size() const { return stride_ == 1 && added_ == 0; }

  at::Tensor shortcut(const at::Tensor& input) {
    if (keeps_size()) return input;
    if (shortcut_) return shortcut_->forward(input);
    const at::Tensor thinned = input.slice(2, 0, input.size(2), stride_).slice(3, 0, input.size(3), stride_);
    return at::constant_pad_nd(thinned, {0, 0, 0, 0, added_ / 2, added_ - added_ / 2});
  }

  int64_t stride_, added_;
  Conv2d conv1_{nullptr}, conv2_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr}, bn2_{nullptr};
  torch::nn::Sequential shortcut_{nullptr};
};

class ResNet : public ImageModel {
 public:
  ResNet(const ImageShape& shape, const ResNetShape& form) {
    int64_t width = form.widths.front();
    conv1_ = register_module("conv1", convolution(shape.channels, width, 3));
    bn1_ = register_module("bn1", torch::nn::BatchNorm2d(width));
    for (size_t stage = 0; stage < form.widths.size(); ++stage) {
      torch::nn::ModuleList blocks;
      for (int64_t block = 0; block < form.blocks; ++block) {
        const int64_t stride = stage > 0 && block == 0 ? 2 : 1;
        blocks->push_back(std::make_shared<BasicBlock>(width, form.widths[stage], stride, form.shortcut));
        width = form.widths[stage];
      }
      stages_.push_back(register_module("layer" + std::to_string(stage + 1), blocks));
    }
    linear_ = register_module("linear", Linear(width, shape.classes));
  }

  at::Tensor forward(const at::Tensor& input) override {
    at::Tensor x = bn1_(conv1_(input)).relu_();
    for (const auto& stage : stages_) {
      for (const auto& block : *stage) x = block->as<BasicBlock>()->forward(x);
    }
    return linear_(x.mean({2, 3}));
  }

  /// In place of torch's own initial weights.
  void draw_kaiming_normal() {
    for (const auto& module : modules(/*include_self=*/false)) {
      if (auto* conv = module->as<torch::nn::Conv2dImpl>()) torch::nn::init::kaiming_normal_(conv->weight);
      if (auto* linear = module->as<torch::nn::LinearImpl>())
        torch::nn::init::kaiming_normal_(linear->weight);
    }
  }

 private:
  Conv2d conv1_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr};
  std::vector<torch::nn::ModuleList> stages_;
  Linear linear_{nullptr};
};

}  // namespace

std::shared_ptr<ImageModel> make_resnet20(const ImageShape& shape) {
  const auto model = std::make_shared<ResNet>(shape, ResNetShape{{16, 32, 64}, 3, Shortcut::padded});
  model->draw_kaiming_normal();
  return model;
}

std::shared_ptr<ImageModel> make_resnet18(const ImageShape& shape) {
  return std::make_shared<ResNet>(shape, ResNetShape{{64, 128, 256, 512}, 2, Shortcut::convolution});
}

}  // namespace diffq
