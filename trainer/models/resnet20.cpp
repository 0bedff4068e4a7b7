#include <torch/torch.h>

#include "trainer/models/models.h"

namespace diffq {
namespace {

using torch::nn::Conv2d;
using torch::nn::Conv2dOptions;

Conv2d conv3x3(int64_t in, int64_t out, int64_t stride) {
  return Conv2d(Conv2dOptions(in, out, 3).stride(stride).padding(1).bias(false));
}

class BasicBlock : public torch::nn::Module {
 public:
  BasicBlock(int64_t in, int64_t out, int64_t stride) : stride_(stride), added_(out - in) {
    conv1_ = register_module("conv1", conv3x3(in, out, stride));
    bn1_ = register_module("bn1", torch::nn::BatchNorm2d(out));
    conv2_ = register_module("conv2", conv3x3(out, out, 1));
    bn2_ = register_module("bn2", torch::nn::BatchNorm2d(out));
  }

  at::Tensor forward(const at::Tensor& input) {
    const at::Tensor inner = at::relu(bn1_(conv1_(input)));
    return at::relu(bn2_(conv2_(inner)) + shortcut(input));
  }

 private:
  // Without parameters: every other pixel, and zeros for the new channels on both sides.
  at::Tensor shortcut(const at::Tensor& input) const {
    if (stride_ == 1 && added_ == 0) return input;
    const at::Tensor thinned = input.slice(2, 0, input.size(2), stride_).slice(3, 0, input.size(3), stride_);
    return at::constant_pad_nd(thinned, {0, 0, 0, 0, added_ / 2, added_ - added_ / 2});
  }

  int64_t stride_, added_;
  Conv2d conv1_{nullptr}, conv2_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr}, bn2_{nullptr};
};

class ResNet20 : public ImageModel {
 public:
  explicit ResNet20(const ImageShape& shape) {
    conv1_ = register_module("conv1", conv3x3(shape.channels, 16, 1));
    bn1_ = register_module("bn1", torch::nn::BatchNorm2d(16));
    int64_t width = 16;
    for (int64_t stage = 0; stage < 3; ++stage) {
      const int64_t out = 16 << stage;
      torch::nn::ModuleList blocks;
      for (int64_t block = 0; block < 3; ++block) {
        const int64_t stride = stage > 0 && block == 0 ? 2 : 1;
        blocks->push_back(std::make_shared<BasicBlock>(width, out, stride));
        width = out;
      }
      stages_.push_back(register_module("layer" + std::to_string(stage + 1), blocks));
    }
    linear_ = register_module("linear", torch::nn::Linear(64, shape.classes));
    initialize();
  }

  at::Tensor forward(const at::Tensor& input) override {
    at::Tensor x = at::relu(bn1_(conv1_(input)));
    for (const auto& stage : stages_) {
      for (const auto& block : *stage) x = block->as<BasicBlock>()->forward(x);
    }
    return linear_(x.mean({2, 3}));
  }

 private:
  void initialize() {
    for (const auto& module : modules(/*include_self=*/false)) {
      if (auto* conv = module->as<torch::nn::Conv2dImpl>()) torch::nn::init::kaiming_normal_(conv->weight);
      if (auto* linear = module->as<torch::nn::LinearImpl>())
        torch::nn::init::kaiming_normal_(linear->weight);
    }
  }

  Conv2d conv1_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr};
  std::vector<torch::nn::ModuleList> stages_;
  torch::nn::Linear linear_{nullptr};
};

}  // namespace

std::shared_ptr<ImageModel> make_resnet20(const ImageShape& shape) {
  return std::make_shared<ResNet20>(shape);
}

}  // namespace diffq
