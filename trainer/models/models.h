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
/// MobileNet of the CIFAR examples (arXiv:1704.04861; stride 1 at the start; 3,217,226 parameters with 3
/// channels and 10 classes).
std::shared_ptr<ImageModel> make_mobilenet(const ImageShape& shape);
/// WRN-28-10 of the CIFAR examples (arXiv:1605.07146; 36,489,290 parameters with 3 channels and 10 classes).
std::shared_ptr<ImageModel> make_wide_resnet28_10(const ImageShape& shape, double dropout);
/// The vision transformer of the CIFAR examples (9,786,378 parameters with 32 x 32 pixels, 3 channels and 10
/// classes).
std::shared_ptr<ImageModel> make_cifar_vit(const ImageShape& shape, double dropout);
/// DeiT with patches of 16 x 16 pixels; width 192 (tiny), 384 (small) or 768 (base). drop_path is the last
/// block's rate, it rises linearly from 0.
std::shared_ptr<ImageModel> make_deit(const ImageShape& shape, int64_t width, double drop_path);
/// 12,233,232 parameters with 3 channels and 1000 classes; drop_path rises linearly from 0 and would reach
/// this rate one block after the last.
std::shared_ptr<ImageModel> make_efficientnet_b3(const ImageShape& shape, double dropout, double drop_path);

}  // namespace diffq
