#include "trainer/models/models.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace diffq {
namespace {

/// The pictures a model takes: sides of at least so many pixels, and of a multiple of so many.
struct Sides {
  int64_t least = 1;
  int64_t multiple = 1;
};

Sides sides_of(ModelName name) {
  switch (name) {
    case ModelName::small_cnn:
      return {.least = 8};
    case ModelName::cifar_vit:
      return {.least = 4, .multiple = 4};
    case ModelName::deit_tiny:
    case ModelName::deit_small:
    case ModelName::deit_base:
      return {.least = 16, .multiple = 16};
    case ModelName::efficientnet_b3:
      return {.least = 32};
    default:
      return {};
  }
}

std::string size_text(int64_t height, int64_t width) {
  return std::to_string(height) + " x " + std::to_string(width);
}

void check_shape(ModelName name, const ImageShape& shape) {
  const auto [least, multiple] = sides_of(name);
  const auto fits = [&](int64_t side) { return side >= least && side % multiple == 0; };
  if (fits(shape.height) && fits(shape.width)) return;
  const auto named = std::find_if(kModelNames.begin(), kModelNames.end(),
                                  [&](const auto& candidate) { return candidate.second == name; });
  throw std::invalid_argument("model.name: " + std::string(named->first) +
                              (multiple > 1
                                   ? " needs pictures with sides of a multiple of " + std::to_string(multiple)
                                   : " needs pictures of at least " + size_text(least, least)) +
                              ", not " + size_text(shape.height, shape.width));
}

}  // namespace

std::shared_ptr<ImageModel> make_image_model(const ModelSpec& spec, const ImageShape& shape) {
  check_shape(spec.name, shape);
  const DropRates usual = usual_rates(spec.name);
  const double dropout = spec.rates.dropout.value_or(usual.dropout.value_or(0));
  const double drop_path = spec.rates.drop_path.value_or(usual.drop_path.value_or(0));
  switch (spec.name) {
    case ModelName::small_cnn:
      return make_small_cnn(shape, spec.batchnorm);
    case ModelName::resnet20:
      return make_resnet20(shape);
    case ModelName::resnet18:
      return make_resnet18(shape);
    case ModelName::mobilenet:
      return make_mobilenet(shape);
    case ModelName::wide_resnet28_10:
      return make_wide_resnet28_10(shape, dropout);
    case ModelName::cifar_vit:
      return make_cifar_vit(shape, dropout);
    case ModelName::deit_tiny:
      return make_deit(shape, 192, drop_path);
    case ModelName::deit_small:
      return make_deit(shape, 384, drop_path);
    case ModelName::deit_base:
      return make_deit(shape, 768, drop_path);
    case ModelName::efficientnet_b3:
      return make_efficientnet_b3(shape, dropout, drop_path);
    default:
      break;
  }
  throw std::invalid_argument("model.name: is no model for pictures");
}

}  // namespace diffq
