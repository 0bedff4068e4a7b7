// MobileNet of the CIFAR examples. Batch normalisation needs its input in backward, not its output, so that
// ReLU may overwrite the latter.
#include <torch/torch.h>

#include "trainer/models/layers.h"
#include "trainer/models/models.h"

namespace diffq {
namespace {

/// A 3 x 3 convolution of each channel by itself, then a 1 x 1 convolution over all channels.
class SeparableBlock : public torch::nn::Module {
 public:
  SeparableBlock(int64_t in, int64_t out, int64_t stride) {
    conv1_ = register_module("conv1", convolution(in, in, 3, {.stride = stride, .groups = in}));
    bn1_ = register_module("bn1", torch::nn::BatchNorm2d(in));
    conv2_ = register_module("conv2", convolution(in, out, 1));
    bn2_ = register_module("bn2", torch::nn::BatchNorm2d(out));
  }

  at::Tensor forward(const at::Tensor& input) {
    const at::Tensor inner = bn1_(conv1_(input)).relu_();
    return bn2_(conv2_(inner)).relu_();
  }

 private:
  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr}, bn2_{nullptr};
};

struct BlockForm {
  int64_t width;
  int64_t stride = 1;
};

constexpr BlockForm kBlocks[] = {{64},  {128, 2}, {128}, {256, 2}, {256},     {512, 2}, {512},
                                 {512}, {512},    {512}, {512},    {1024, 2}, {1024}};

class MobileNet : public ImageModel {
 public:
  explicit MobileNet(const ImageShape& shape) {
    int64_t width = 32;
    conv1_ = register_module("conv1", convolution(shape.channels, width, 3));
    bn1_ = register_module("bn1", torch::nn::BatchNorm2d(width));
    layers_ = register_module("layers", torch::nn::ModuleList());
    for (const BlockForm& block : kBlocks) {
      layers_->push_back(std::make_shared<SeparableBlock>(width, block.width, block.stride));
      width = block.width;
    }
    linear_ = register_module("linear", Linear(width, shape.classes));
  }

  at::Tensor forward(const at::Tensor& input) override {
    // On the CPU convolutions of single channels are much faster where a pixel's channels lie together.
    at::Tensor x = input.is_cpu() ? input.contiguous(at::MemoryFormat::ChannelsLast) : input;
    x = bn1_(conv1_(x)).relu_();
    for (const auto& block : *layers_) x = block->as<SeparableBlock>()->forward(x);
    return linear_(x.mean({2, 3}));
  }

 private:
  torch::nn::Conv2d conv1_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr};
  torch::nn::ModuleList layers_{nullptr};
  Linear linear_{nullptr};
};

}  // namespace

std::shared_ptr<ImageModel> make_mobilenet(const ImageShape& shape) {
  return std::make_shared<MobileNet>(shape);
}

}  // namespace diffq
