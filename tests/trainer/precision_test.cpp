#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/thread_communicator.h"
#include "tests/trainer/training_rig.h"

namespace diffq {
namespace {

// Losses of steps, and the type that the model's first result has in them.
std::vector<double> losses(const RunSpec& spec, at::ScalarType& seen) {
  const DataSplits data = memory_splits();
  const auto alone = single_rank();
  const std::shared_ptr<Task> task = make_small_task(spec);
  TrainingRig rig(spec, data, *alone,
                  {.task = std::make_shared<LambdaTask>(
                       std::shared_ptr<torch::nn::Module>(task, &task->module()), [&](const Batch& batch) {
                         const at::Tensor square = at::matmul(at::ones({2, 2}), at::ones({2, 2}));
                         seen = square.scalar_type();
                         return task->loss(batch);
                       })});
  std::vector<double> result;
  for (int step = 0; step < 40; ++step) result.push_back(rig.step(step).loss);
  EXPECT_EQ(rig.store.gradient().scalar_type(), at::kFloat);
  EXPECT_EQ(at::matmul(at::ones({2, 2}), at::ones({2, 2})).scalar_type(), at::kFloat) << "only within a step";
  return result;
}

TEST(Precision, Bf16TrainsAlmostAsFp32DoesAndSeesEachStepsWeights) {
  for (const Method method : {Method::fp32, Method::diffq}) {
    RunSpec spec = small_spec(method);
    spec.method.rank_noise = RankNoise::shared;
    at::ScalarType seen = at::kDouble;
    const std::vector<double> full = losses(spec, seen);
    EXPECT_EQ(seen, at::kFloat);
    spec.train.precision = Precision::bf16;
    const std::vector<double> half = losses(spec, seen);
    EXPECT_EQ(seen, at::kBFloat16);
    EXPECT_LT(full.back(), 0.7 * full.front());
    for (size_t i = 0; i < full.size(); ++i) {
      EXPECT_NE(half[i], full[i]);
      EXPECT_NEAR(half[i], full[i], 0.03 * full.front()) << i;
    }
  }
}

}  // namespace
}  // namespace diffq
