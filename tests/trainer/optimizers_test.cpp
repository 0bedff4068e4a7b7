#include "trainer/optimizers.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <numbers>

#include "trainer/schedule.h"

namespace diffq {
namespace {

// 20 steps of ours and of torch's on the same gradients; ours in two ranges, from gradients stored twice as
// large.
void compare_with(
    const OptimizerSpec& spec,
    const std::function<std::unique_ptr<torch::optim::Optimizer>(std::vector<at::Tensor>)>& make) {
  torch::manual_seed(3);
  const at::Tensor start = at::randn({1000});
  const at::Tensor values = start.clone(), gradient = at::zeros({1000});
  Optimizer ours(spec, {{values.slice(0, 0, 333), gradient.slice(0, 0, 333)},
                        {values.slice(0, 333, 1000), gradient.slice(0, 333, 1000)}});
  at::Tensor parameter = start.clone().requires_grad_();
  const auto theirs = make({parameter});
  for (int step = 0; step < 20; ++step) {
    const at::Tensor g = at::randn({1000}) * (1 + step % 3);
    gradient.copy_(g * 2);
    parameter.mutable_grad() = g.clone();
    ours.step(spec.lr, 0.5);
    theirs->step();
    const double error = (values - parameter.detach()).abs().max().item<double>();
    ASSERT_LE(error, 1e-6 * parameter.detach().abs().max().item<double>()) << "step " << step;
  }
  EXPECT_GT((values - start).abs().min().item<double>(), 0) << "every value moved";
  EXPECT_EQ(ours.steps(), 20);
}

TEST(Optimizers, SgdIsTorchs) {
  for (const double momentum : {0.0, 0.9}) {
    for (const bool nesterov : {false, true}) {
      for (const double weight_decay : {0.0, 0.1}) {
        if (nesterov && momentum == 0) continue;
        SCOPED_TRACE(testing::Message() << momentum << " " << nesterov << " " << weight_decay);
        OptimizerSpec spec;
        spec.lr = 0.03;
        spec.momentum = momentum;
        spec.nesterov = nesterov;
        spec.weight_decay = weight_decay;
        compare_with(spec, [&](std::vector<at::Tensor> parameters) {
          return std::make_unique<torch::optim::SGD>(
              parameters, torch::optim::SGDOptions(0.03).momentum(momentum).nesterov(nesterov).weight_decay(
                              weight_decay));
        });
      }
    }
  }
}

// The published form: the momentum is kept as -lr v, and rescaled when the rate changes.
TEST(Optimizers, NagIsThePublishedOne) {
  torch::manual_seed(5);
  const double momentum = 0.99, weight_decay = 0.1;
  const OptimizerSpec spec{.name = OptimizerName::nag, .weight_decay = weight_decay, .momentum = momentum};
  const at::Tensor values = at::randn({500}), gradient = at::zeros({500});
  at::Tensor expected = values.to(at::kDouble), kept = at::zeros({500}, at::kDouble);
  Optimizer ours(spec, {{values, gradient}});
  double lr_before = 0.01;
  for (int step = 0; step < 20; ++step) {
    const double lr = 0.01 * (1 + step % 4), change = lr / lr_before;
    gradient.copy_(at::randn({500}));
    const at::Tensor g = gradient.to(at::kDouble);
    ours.step(lr, 1);
    expected =
        expected * (1 - lr * weight_decay) + momentum * momentum * change * kept - (1 + momentum) * lr * g;
    kept = momentum * change * kept - lr * g;
    lr_before = lr;
    ASSERT_LE((values - expected).abs().max().item<double>(), 2e-6 * expected.abs().max().item<double>())
        << step;
  }
}

TEST(Optimizers, AdamIsTorchs) {
  for (const double weight_decay : {0.0, 0.1}) {
    OptimizerSpec spec;
    spec.name = OptimizerName::adam;
    spec.lr = 0.01;
    spec.beta1 = 0.8;
    spec.beta2 = 0.99;
    spec.epsilon = 1e-6;
    spec.weight_decay = weight_decay;
    compare_with(spec, [&](std::vector<at::Tensor> parameters) {
      return std::make_unique<torch::optim::Adam>(
          parameters,
          torch::optim::AdamOptions(0.01).betas({0.8, 0.99}).eps(1e-6).weight_decay(weight_decay));
    });
    spec.name = OptimizerName::adamw;
    compare_with(spec, [&](std::vector<at::Tensor> parameters) {
      return std::make_unique<torch::optim::AdamW>(
          parameters,
          torch::optim::AdamWOptions(0.01).betas({0.8, 0.99}).eps(1e-6).weight_decay(weight_decay));
    });
  }
}

TEST(Optimizers, StateIsNamedAndHasItsSize) {
  const at::Tensor values = at::zeros({10});
  OptimizerSpec spec;
  for (const auto name :
       {OptimizerName::sgd, OptimizerName::nag, OptimizerName::adam, OptimizerName::adamw}) {
    for (const double momentum : {0.0, 0.9}) {
      spec.name = name;
      spec.momentum = momentum;
      int64_t bytes = 0;
      for (const auto& [label, tensor] : Optimizer(spec, {{values, values.clone()}}).state()) {
        bytes += static_cast<int64_t>(tensor.nbytes());
      }
      EXPECT_EQ(bytes, !is_sgd(name) ? 80 : momentum != 0 ? 40 : 0);
    }
  }
  EXPECT_TRUE(Optimizer(spec, {}).state().empty()) << "nothing to optimise";
}

TEST(Schedule, Constant) {
  OptimizerSpec optimizer;
  optimizer.lr = 0.3;
  for (const int64_t step : {0, 7, 99}) EXPECT_EQ(learning_rate(optimizer, {}, step, 10, 10), 0.3);
}

TEST(Schedule, StepFallsAtWholeEpochs) {
  OptimizerSpec optimizer;
  ScheduleSpec schedule;
  schedule.name = ScheduleName::step;
  schedule.every_epochs = 2;
  schedule.factor = 0.5;
  optimizer.lr = 1;
  EXPECT_DOUBLE_EQ(learning_rate(optimizer, schedule, 19, 10, 6), 1);
  EXPECT_DOUBLE_EQ(learning_rate(optimizer, schedule, 20, 10, 6), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(optimizer, schedule, 59, 10, 6), 0.25);
}

TEST(Schedule, CosineGoesFromLrToZero) {
  OptimizerSpec optimizer;
  ScheduleSpec schedule;
  schedule.name = ScheduleName::cosine;
  optimizer.lr = 0.2;
  EXPECT_DOUBLE_EQ(learning_rate(optimizer, schedule, 0, 10, 6), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate(optimizer, schedule, 20, 10, 6), 0.15) << "a third: cos 60° = 1/2";
  EXPECT_DOUBLE_EQ(learning_rate(optimizer, schedule, 30, 10, 6), 0.1);
  EXPECT_NEAR(learning_rate(optimizer, schedule, 60, 10, 6), 0, 1e-16);
}

TEST(Schedule, CosineRestartsAtSmallerRatesWhateverTheEpochs) {
  const OptimizerSpec optimizer{.lr = 0.2};
  const ScheduleSpec schedule{
      .name = ScheduleName::cosine_restarts, .warmup_steps = 5, .period_steps = 30, .shrink = 0.75};
  for (const int64_t epochs : {1, 100}) {
    const auto rate = [&](int64_t step) { return learning_rate(optimizer, schedule, step, 10, epochs); };
    for (int64_t step = 0; step < 5; ++step) EXPECT_DOUBLE_EQ(rate(step), 0.2 * double(step + 1) / 5);
    for (int period = 0; period < 4; ++period) {
      const double top = 0.2 * std::pow(0.75, period);
      EXPECT_DOUBLE_EQ(rate(5 + 30 * period), top);
      EXPECT_DOUBLE_EQ(rate(15 + 30 * period), top * 0.75) << "a third: cos 60° = 1/2";
      EXPECT_NEAR(rate(34 + 30 * period), top * 0.5 * (1 - std::cos(std::numbers::pi / 30)), 1e-12);
    }
  }
}

TEST(Schedule, WarmUpRisesLinearlyAndCosineCoversTheRest) {
  OptimizerSpec optimizer;
  ScheduleSpec schedule;
  schedule.warmup_epochs = 1.5;
  optimizer.lr = 0.3;
  for (const auto name : {ScheduleName::constant, ScheduleName::step, ScheduleName::cosine}) {
    schedule.name = name;
    for (int64_t step = 0; step < 15; ++step) {
      EXPECT_DOUBLE_EQ(learning_rate(optimizer, schedule, step, 10, 6), 0.3 * double(step + 1) / 15);
    }
    EXPECT_DOUBLE_EQ(learning_rate(optimizer, schedule, 15, 10, 6), 0.3);
  }
  EXPECT_DOUBLE_EQ(learning_rate(optimizer, schedule, 30, 10, 6), 0.3 * 0.75)
      << "15 of 45 steps after warm-up";
}

}  // namespace
}  // namespace diffq
