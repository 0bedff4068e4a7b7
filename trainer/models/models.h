#pragma once
// The image models, by name. They contain no quantization code; parameter and buffer names are the published
// ones.

#include <torch/nn/module.h>

#include <memory>

#include "datasets/dataset.h"
#include "trainer/run_spec.h"

namespace diffq {

class ImageModel : public torch::nn::Module {
 public:
  /// [samples, channels, height, width] -> logits [samples, classes]
  virtual at::Tensor forward(const at::Tensor& input) = 0;
};

/// Initial weights come from torch's default generator. Throws std::invalid_argument if the model can't take
/// the shape.
std::shared_ptr<ImageModel> make_image_model(const ModelSpec& spec, const ImageShape& shape);

/// Two convolutions and two linear layers, for small pictures.
std::shared_ptr<ImageModel> make_small_cnn(const ImageShape& shape, bool batchnorm);
/// ResNet-20 of the CIFAR examples (He et al., arXiv:1512.03385, section 4.2; parameter-free shortcuts,
/// 269,722 parameters with 3 channels and 10 classes).
std::shared_ptr<ImageModel> make_resnet20(const ImageShape& shape);
/// ResNet-18 of the CIFAR examples (the paper's section 4.1 for small pictures: a 3 x 3 convolution of stride
/// 1 and no pooling at the start; 1 x 1 convolutions as shortcuts; 11,173,962 parameters with 3 channels and
/// 10 classes).
std::shared_ptr<ImageModel> make_resnet18(const ImageShape& shape);

}  // namespace diffq
