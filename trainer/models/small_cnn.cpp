#include <torch/torch.h>

#include "trainer/models/layers.h"
#include "trainer/models/models.h"

namespace diffq {
namespace {

class SmallCnn : public ImageModel {
 public:
  SmallCnn(const ImageShape& shape, bool batchnorm) {
    using torch::nn::Conv2dOptions;
    const int64_t height = (shape.height + 3) / 4, width = (shape.width + 3) / 4;
    conv1_ = register_module("conv1",
                             torch::nn::Conv2d(Conv2dOptions(shape.channels, 16, 5).stride(2).padding(2)));
    conv2_ = register_module("conv2", torch::nn::Conv2d(Conv2dOptions(16, 32, 5).stride(2).padding(2)));
    if (batchnorm) {
      bn1_ = register_module("bn1", torch::nn::BatchNorm2d(16));
      bn2_ = register_module("bn2", torch::nn::BatchNorm2d(32));
    }
    linear1_ = register_module("linear1", Linear(32 * height * width, 64));
    linear2_ = register_module("linear2", Linear(64, shape.classes));
  }

  at::Tensor forward(const at::Tensor& input) override {
    at::Tensor x = conv1_(input);
    if (bn1_) x = bn1_(x);
    x = conv2_(at::relu(x));
    if (bn2_) x = bn2_(x);
    x = at::relu(x).flatten(1);
    return linear2_(at::relu(linear1_(x)));
  }

 private:
  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr}, bn2_{nullptr};
  Linear linear1_{nullptr}, linear2_{nullptr};
};

}  // namespace

std::shared_ptr<ImageModel> make_small_cnn(const ImageShape& shape, bool batchnorm) {
  return std::make_shared<SmallCnn>(shape, batchnorm);
}

}  // namespace diffq
