// The models in training: one whole step each, and what dropout and drop path do.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <map>

#include "tests/support/thread_communicator.h"
#include "tests/trainer/training_rig.h"
#include "trainer/device.h"
#include "trainer/models/layers.h"
#include "trainer/models/models.h"

namespace diffq {
namespace {

using Case = std::pair<ModelName, ImageShape>;

class ModelStep : public testing::TestWithParam<Case> {};

TEST_P(ModelStep, GivesEveryParameterItsGradientOnce) {
  const auto& [name, shape] = GetParam();
  const DataSplits data{shape, std::make_shared<MemoryData>(4, shape, 1), nullptr, nullptr};
  RunSpec spec;
  spec.model.name = name;
  spec.train.batch_size = 4;
  spec.train.optimizer = {.lr = 1e-3, .momentum = 0};
  const auto alone = single_rank();
  TrainingRig rig(spec, data, *alone, {.task = make_task({.model = spec.model}, shape)});
  std::map<std::string, int> gradients;
  std::map<std::string, double> largest;
  for (const auto& item : rig.module().named_parameters()) {
    item.value().register_hook([&, key = item.key()](const at::Tensor& gradient) {
      ++gradients[key];
      largest[key] = gradient.abs().max().item<double>();
    });
  }
  const StepResult result = rig.step(0);
  EXPECT_EQ(result.skipped, "");
  EXPECT_TRUE(std::isfinite(result.loss));
  EXPECT_GT(result.gradient_norm, 0);
  for (const auto& item : rig.module().named_parameters()) {
    EXPECT_EQ(gradients[item.key()], 1) << item.key();
    EXPECT_GT(largest[item.key()], 0) << item.key();
  }
}

TEST_P(ModelStep, GivesTheSameWithChannelsLast) {
  const auto& [name, shape] = GetParam();
  torch::manual_seed(3);
  const auto model = make_image_model({.name = name}, shape);
  model->eval();  // no dropout, and no statistics of four pictures
  const at::Tensor input = at::randn({4, shape.channels, shape.height, shape.width});
  ASSERT_FALSE(channels_last(input).is_contiguous());
  const at::Tensor direction = at::randn({4, shape.classes});
  const auto run = [&](const at::Tensor& pictures) {
    model->zero_grad();
    const at::Tensor out = model->forward(pictures);
    (out * direction).sum().backward();
    std::vector<at::Tensor> seen{out.detach()};
    for (const at::Tensor& parameter : model->parameters()) seen.push_back(parameter.grad().clone());
    return seen;
  };
  const auto expected = run(input), seen = run(channels_last(input));
  for (size_t i = 0; i < seen.size(); ++i) {
    const double size = expected[i].abs().max().item<double>();
    EXPECT_LT((seen[i] - expected[i]).abs().max().item<double>(), 1e-3 * size + 1e-6) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, ModelStep,
    testing::Values(Case{ModelName::resnet18, {3, 32, 32, 10}}, Case{ModelName::resnet20, {3, 32, 32, 10}},
                    Case{ModelName::mobilenet, {3, 32, 32, 10}},
                    Case{ModelName::wide_resnet28_10, {3, 8, 8, 10}},
                    Case{ModelName::cifar_vit, {3, 16, 16, 10}}, Case{ModelName::deit_tiny, {3, 32, 48, 10}},
                    Case{ModelName::deit_small, {3, 32, 32, 10}}, Case{ModelName::deit_base, {3, 32, 32, 10}},
                    Case{ModelName::efficientnet_b3, {3, 64, 64, 10}}),
    [](const auto& info) {
      for (const auto& [word, name] : kModelNames)
        if (name == info.param.first) return std::string(word);
      return std::string();
    });

ModelSpec with_rates(ModelName name, DropRates rates) { return {.name = name, .rates = rates}; }

// Dropout and drop path, each by itself: a function of the generator in training, absent in evaluation.
TEST(DropRatesOfModels, ActInTrainingAlone) {
  torch::NoGradGuard no_grad;
  for (const auto& [side, spec] :
       {std::pair{8, with_rates(ModelName::wide_resnet28_10, {.dropout = 0.3})},
        {16, with_rates(ModelName::cifar_vit, {.dropout = 0.3})},
        {32, with_rates(ModelName::deit_tiny, {.drop_path = 0.3})},
        {32, with_rates(ModelName::efficientnet_b3, {.dropout = 0.3, .drop_path = 0.0})},
        {32, with_rates(ModelName::efficientnet_b3, {.dropout = 0.0, .drop_path = 0.3})}}) {
    const auto model = make_image_model(spec, {3, side, side, 10});
    const at::Tensor input = at::randn({4, 3, side, side});
    const auto with_seed = [&](uint64_t seed) {
      torch::manual_seed(seed);
      return model->forward(input);
    };
    model->train();
    const at::Tensor first = with_seed(1);
    EXPECT_TRUE(with_seed(1).equal(first));
    EXPECT_FALSE(with_seed(2).equal(first));
    model->eval();
    EXPECT_TRUE(with_seed(1).equal(with_seed(2)));
  }
}

TEST(DropRatesOfModels, AreOffAtZero) {
  const at::Tensor input = at::randn({2, 3, 32, 32});
  torch::NoGradGuard no_grad;
  for (const ModelName name : {ModelName::cifar_vit, ModelName::deit_tiny}) {
    const auto model =
        make_image_model(with_rates(name, {.dropout = 0.0, .drop_path = 0.0}), {3, 32, 32, 10});
    const at::Tensor in_training = model->forward(input);
    model->eval();
    EXPECT_TRUE(model->forward(input).equal(in_training));
  }
}

TEST(AddBranch, DropsWholeSamplesAndRescales) {
  torch::manual_seed(3);
  const at::Tensor input = at::randn({4000, 3, 2}), branch = at::randn({4000, 3, 2});
  EXPECT_TRUE(add_branch(input, branch, 0).equal(input + branch));
  const at::Tensor dropped = add_branch(input, branch, 0.2);
  const at::Tensor left_out = (dropped == input).flatten(1).all(1);
  const at::Tensor grown = at::isclose(dropped, input + branch / 0.8, 1e-5, 1e-5).flatten(1).all(1);
  EXPECT_TRUE((left_out ^ grown).all().item<bool>());
  EXPECT_NEAR(left_out.to(at::kFloat).mean().item<double>(), 0.2, 0.03);
}

}  // namespace
}  // namespace diffq
