// ResNet-20 on the CPU and on the GPU, step by step, with the methods whose weights are continuous: one that
// is rounded the other way would make two trainings of it.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "quant/device_quantizer.h"
#include "tests/support/test_device.h"
#include "tests/support/thread_communicator.h"
#include "tests/trainer/training_rig.h"

namespace diffq {
namespace {

std::vector<double> losses(const RunSpec& spec, const DataSplits& data, at::Device device, int steps = 50) {
  const OwnStream stream(device);
  RigParts parts;
  parts.task = make_task(spec, data.shape);
  if (!device.is_cpu()) {
    parts.task->module().to(device);
    parts.quantizer = make_quantizer(spec.method, spec.quant, device);
    parts.kernels = &test_update_kernels();
    parts.make_graph = test_step_graphs();
  }
  const auto alone = single_rank();
  TrainingRig rig(spec, data, *alone, parts);
  std::vector<double> result;
  for (int step = 0; step < steps; ++step) result.push_back(rig.step(step).loss);
  return result;
}

TEST(ResNet20, FiftyStepsOnTheGpuAreThoseOfTheCpu) {
  for (const Method method : {Method::fp32, Method::diffq}) {
    RunSpec spec;
    spec.model.name = ModelName::resnet20;
    spec.method.method = method;
    spec.method.lambda = 5;
    // Small steps: at ten times the rate, half the batch, two trainings on the CPU whose first weights differ
    // in the last place of a float drift apart by 5e-3 within 50 steps; with these by 1e-4.
    spec.train.batch_size = 64;
    spec.train.optimizer.lr = 0.001;
    spec.train.optimizer.weight_decay = 5e-4;
    const ImageShape shape{3, 32, 32, 10};
    const auto images = std::make_shared<MemoryData>(320, shape, 1);
    const DataSplits data{shape, images, images, images};
    const std::vector<double> cpu = losses(spec, data, at::kCPU), gpu = losses(spec, data, test_device());
    EXPECT_LT(cpu.back(), 0.6 * cpu.front());
    double largest = 0;
    for (size_t step = 0; step < cpu.size(); ++step) {
      EXPECT_NEAR(gpu[step], cpu[step], 1e-3 * cpu.front()) << "method " << int(method) << " step " << step;
      largest = std::max(largest, std::abs(gpu[step] - cpu[step]));
    }
    std::printf("method %d: losses from %.4f to %.4f, apart by at most %.1e of the first\n", int(method),
                cpu.front(), cpu.back(), largest / cpu.front());
  }
}

DataSplits random_pictures(const ImageShape& shape) {
  const auto images = std::make_shared<MemoryData>(64, shape, 1);
  return {shape, images, images, images};
}

/// What a step that is recorded draws and sums is what it would have drawn and summed.
TEST(RecordedSteps, AreThoseOfTheModelsThatDropAndNormalise) {
  struct Case {
    ModelName model;
    Precision precision;
    int64_t side;
  };
  for (const Case& each :
       {Case{ModelName::resnet20, Precision::fp32, 32}, Case{ModelName::resnet18, Precision::bf16, 32},
        Case{ModelName::mobilenet, Precision::fp32, 32},
        Case{ModelName::wide_resnet28_10, Precision::bf16, 32},
        Case{ModelName::cifar_vit, Precision::bf16, 32}, Case{ModelName::deit_tiny, Precision::bf16, 224},
        Case{ModelName::efficientnet_b3, Precision::fp32, 224}}) {
    RunSpec spec;
    spec.model.name = each.model;
    spec.model.rates = usual_rates(each.model);
    if (spec.model.rates.drop_path) spec.model.rates.drop_path = 0.2;
    spec.method.method = Method::diffq;
    spec.method.lambda = 5;
    spec.train.batch_size = 16;
    spec.train.optimizer.lr = 0.001;
    spec.train.precision = each.precision;
    const DataSplits data = random_pictures({3, each.side, each.side, 10});
    torch::manual_seed(3);
    const std::vector<double> plain = losses(spec, data, test_device(), 8);
    spec.train.cuda_graph = true;
    torch::manual_seed(3);
    const std::vector<double> recorded = losses(spec, data, test_device(), 8);
    double apart = 0;
    for (size_t step = 0; step < plain.size(); ++step)
      apart = std::max(apart, std::abs(plain[step] - recorded[step]));
    std::printf("model %d: losses from %.6f to %.6f, apart by at most %.1e\n", int(each.model), plain.front(),
                plain.back(), apart);
    EXPECT_EQ(apart, 0) << int(each.model);
    EXPECT_NE(plain.back(), plain.front());
  }
}

}  // namespace
}  // namespace diffq
