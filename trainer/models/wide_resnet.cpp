// The wide residual network of the CIFAR examples: normalisation before the convolutions, which have biases.
#include <torch/torch.h>

#include "trainer/models/layers.h"
#include "trainer/models/models.h"

namespace diffq {
namespace {

class WideBlock : public torch::nn::Module {
 public:
  WideBlock(int64_t in, int64_t out, int64_t stride, double dropout) : dropout_(dropout) {
    bn1_ = register_module("bn1", torch::nn::BatchNorm2d(in));
    conv1_ = register_module("conv1", convolution(in, out, 3, {.bias = true}));
    bn2_ = register_module("bn2", torch::nn::BatchNorm2d(out));
    conv2_ = register_module("conv2", convolution(out, out, 3, {.stride = stride, .bias = true}));
    if (stride != 1 || in != out) {
      shortcut_ = register_module(
          "shortcut", torch::nn::Sequential(convolution(in, out, 1, {.stride = stride, .bias = true})));
    }
  }

  // In place wherever backward needs only what came before.
  at::Tensor forward(const at::Tensor& input) {
    at::Tensor x = conv1_(bn1_(input).relu_());
    at::dropout_(x, dropout_, is_training());
    x = conv2_(bn2_(x).relu_());
    return x.add_(shortcut_ ? shortcut_->forward(input) : input);
  }

 private:
  double dropout_;
  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr}, bn2_{nullptr};
  torch::nn::Sequential shortcut_{nullptr};
};

class WideResNet : public ImageModel {
 public:
  WideResNet(const ImageShape& shape, int64_t blocks, int64_t widening, double dropout) {
    int64_t width = 16;
    conv1_ = register_module("conv1", convolution(shape.channels, width, 3, {.bias = true}));
    for (int64_t stage = 0; stage < 3; ++stage) {
      const int64_t wide = (16 * widening) << stage;
      torch::nn::ModuleList list;
      for (int64_t block = 0; block < blocks; ++block) {
        list->push_back(std::make_shared<WideBlock>(width, wide, stage > 0 && block == 0 ? 2 : 1, dropout));
        width = wide;
      }
      stages_.push_back(register_module("layer" + std::to_string(stage + 1), list));
    }
    bn1_ = register_module("bn1", torch::nn::BatchNorm2d(torch::nn::BatchNormOptions(width).momentum(0.9)));
    linear_ = register_module("linear", Linear(width, shape.classes));
  }

  at::Tensor forward(const at::Tensor& input) override {
    at::Tensor x = conv1_(input);
    for (const auto& stage : stages_) {
      for (const auto& block : *stage) x = block->as<WideBlock>()->forward(x);
    }
    return linear_(bn1_(x).relu_().mean({2, 3}));
  }

 private:
  torch::nn::Conv2d conv1_{nullptr};
  std::vector<torch::nn::ModuleList> stages_;
  torch::nn::BatchNorm2d bn1_{nullptr};
  Linear linear_{nullptr};
};

}  // namespace

std::shared_ptr<ImageModel> make_wide_resnet28_10(const ImageShape& shape, double dropout) {
  return std::make_shared<WideResNet>(shape, /*blocks=*/4, /*widening=*/10, dropout);
}

}  // namespace diffq
