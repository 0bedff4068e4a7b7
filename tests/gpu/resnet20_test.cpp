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

std::vector<double> losses(const RunSpec& spec, const DataSplits& data, at::Device device) {
  RigParts parts;
  parts.task = make_task(spec, data.shape);
  if (!device.is_cpu()) {
    parts.task->module().to(device);
    parts.quantizer = make_quantizer(spec.method, spec.quant, device);
    parts.kernels = &test_update_kernels();
  }
  const auto alone = single_rank();
  TrainingRig rig(spec, data, *alone, parts);
  std::vector<double> result;
  for (int step = 0; step < 50; ++step) result.push_back(rig.step(step).loss);
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

}  // namespace
}  // namespace diffq
