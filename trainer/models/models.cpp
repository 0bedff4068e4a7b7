#include "trainer/models/models.h"

#include <stdexcept>
#include <string>

namespace diffq {

std::shared_ptr<ImageModel> make_image_model(const ModelSpec& spec, const ImageShape& shape) {
  switch (spec.name) {
    case ModelName::small_cnn:
      if (shape.height < 8 || shape.width < 8) {
        throw std::invalid_argument("model.name: small_cnn needs pictures of at least 8 x 8, not " +
                                    std::to_string(shape.height) + " x " + std::to_string(shape.width));
      }
      return make_small_cnn(shape, spec.batchnorm);
    case ModelName::resnet20:
      return make_resnet20(shape);
    case ModelName::resnet18:
      return make_resnet18(shape);
  }
  throw std::invalid_argument("model.name: unknown");
}

}  // namespace diffq
