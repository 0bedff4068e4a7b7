// What the models take, and the weights they start from. model_reference_test.cpp compares them with what is
// published.
#include "trainer/models/models.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "tests/trainer/training_rig.h"

namespace diffq {
namespace {

// torch's own: uniform in ±1/√fan_in, where ResNet-20 has normal weights of variance 2/fan_in.
TEST(Models, InitialWeightsOfTheResNets) {
  torch::manual_seed(1);
  const auto extreme = [](ImageModel& model, const std::string& name) {
    const at::Tensor weight = model.named_parameters()[name];
    return weight.abs().max().item<double>() * std::sqrt(double(weight[0].numel()));
  };
  for (const std::string name : {"layer4.1.conv2.weight", "layer3.0.shortcut.0.weight", "linear.weight"}) {
    const double largest = extreme(*make_resnet18({3, 32, 32, 10}), name);
    EXPECT_GT(largest, 0.99) << name;
    EXPECT_LE(largest, 1 + 1e-6) << name;
  }
  EXPECT_GT(extreme(*make_resnet20({3, 32, 32, 10}), "layer3.2.conv2.weight"), 4);
}

// Published: normal with deviation 0.02 (DeiT), 1 (embeddings of the CIFAR transformer) and √(2 / fan-out)
// (EfficientNet's convolutions); torch's own, uniform, for the rest; no biases.
TEST(Models, InitialWeightsOfTheTransformersAndEfficientNet) {
  torch::manual_seed(1);
  const auto deit = make_image_model({.name = ModelName::deit_tiny}, {3, 32, 32, 1000});
  const auto efficientnet = make_image_model({.name = ModelName::efficientnet_b3}, {3, 32, 32, 1000});
  const auto cifar_vit = make_image_model({.name = ModelName::cifar_vit}, {3, 32, 32, 10});
  const auto expect_deviation = [](ImageModel& model, const std::string& name, double deviation) {
    const at::Tensor weight = model.named_parameters()[name].detach();
    const double error = 4 / std::sqrt(2.0 * double(weight.numel()));  // four standard errors
    EXPECT_NEAR(weight.square().mean().sqrt().item<double>() / deviation, 1, error) << name;
  };
  for (const char* name :
       {"cls_token", "pos_embed", "blocks.3.attn.qkv.weight", "blocks.11.mlp.fc2.weight", "head.weight"})
    expect_deviation(*deit, name, 0.02);
  expect_deviation(*deit, "patch_embed.proj.weight", 1 / std::sqrt(3.0 * 3 * 16 * 16));
  for (const char* name : {"pos_embedding", "cls_token"}) expect_deviation(*cifar_vit, name, 1);
  expect_deviation(*cifar_vit, "mlp_head.1.weight", 1 / std::sqrt(3.0 * 512));
  expect_deviation(*efficientnet, "conv_stem.weight", std::sqrt(2.0 / (9 * 40)));
  expect_deviation(*efficientnet, "blocks.2.1.conv_dw.weight", std::sqrt(2.0 / 25));
  expect_deviation(*efficientnet, "blocks.6.0.se.conv_expand.weight", std::sqrt(2.0 / 1392));
  expect_deviation(*efficientnet, "classifier.weight", 1 / std::sqrt(3.0 * 1000));
  for (const auto& model : {deit, efficientnet}) {
    for (const auto& item : model->named_parameters()) {
      if (!item.key().ends_with("bias") || item.key() == "patch_embed.proj.bias") continue;
      EXPECT_EQ(item.value().abs().max().item<double>(), 0) << item.key();
    }
  }
}

// A picture of another size and number of channels and classes: all stages halve it, what is left is
// averaged.
TEST(Models, ConvolutionalOnesTakeOtherPictures) {
  for (const ModelName name : {ModelName::resnet20, ModelName::resnet18, ModelName::mobilenet}) {
    const auto model = make_image_model({.name = name}, {1, 20, 28, 7});
    EXPECT_EQ(model->forward(at::randn({2, 1, 20, 28})).sizes(), at::IntArrayRef({2, 7}));
  }
}

std::string refusal(ModelName name, const ImageShape& shape) {
  try {
    make_image_model({.name = name}, shape);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

TEST(Models, OthersTakeWhatFits) {
  for (const auto& [name, height, width] : {std::tuple{ModelName::cifar_vit, 12, 8},
                                            {ModelName::deit_tiny, 48, 16},
                                            {ModelName::efficientnet_b3, 33, 40}}) {
    const auto model = make_image_model({.name = name}, {1, height, width, 7});
    EXPECT_EQ(model->forward(at::randn({2, 1, height, width})).sizes(), at::IntArrayRef({2, 7}));
  }
  EXPECT_EQ(refusal(ModelName::deit_small, {3, 224, 230, 10}),
            "model.name: deit_small needs pictures with sides of a multiple of 16, not 224 x 230");
  EXPECT_EQ(refusal(ModelName::cifar_vit, {1, 28, 30, 10}),
            "model.name: cifar_vit needs pictures with sides of a multiple of 4, not 28 x 30");
  EXPECT_EQ(refusal(ModelName::efficientnet_b3, {3, 32, 31, 10}),
            "model.name: efficientnet_b3 needs pictures of at least 32 x 32, not 32 x 31");
}

TEST(Models, SmallCnnTakesAnySizeFrom8) {
  for (const int64_t size : {8, 9, 11, 28}) {
    for (const bool batchnorm : {false, true}) {
      const auto model = make_image_model({ModelName::small_cnn, batchnorm}, {2, size, size + 1, 7});
      EXPECT_EQ(model->forward(at::randn({3, 2, size, size + 1})).sizes(), at::IntArrayRef({3, 7}));
      EXPECT_EQ(model->named_buffers().size(), batchnorm ? 6u : 0u);
    }
  }
  EXPECT_THROW(make_image_model({}, {1, 7, 8, 10}), std::invalid_argument);
}

TEST(Models, InitialWeightsDependOnSeedAndModelAlone) {
  for (const auto& [name, side] :
       {std::pair{ModelName::small_cnn, 8}, {ModelName::deit_tiny, 16}, {ModelName::efficientnet_b3, 32}}) {
    const ModelSpec spec{.name = name};
    const ImageShape shape{3, side, side, 4};
    const auto first = make_task({.model = spec, .seed = 5}, shape),
               again = make_task({.model = spec, .seed = 5}, shape),
               other = make_task({.model = spec, .seed = 6}, shape);
    EXPECT_TRUE(same_bits(first->module().parameters(), again->module().parameters()));
    EXPECT_FALSE(same_bits(first->module().parameters(), other->module().parameters()));
  }
}

}  // namespace
}  // namespace diffq
