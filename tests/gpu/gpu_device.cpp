#include <gtest/gtest.h>
#include <torch/torch.h>

#include "tests/support/test_device.h"
#include "trainer/device.h"

namespace diffq {

at::Device test_device() { return {at::kCUDA, 0}; }
const DeviceKernels& test_kernels() { return cuda_kernels(); }
const UpdateKernels& test_update_kernels() { return cuda_update_kernels(); }
MakeStepGraph test_step_graphs() { return make_cuda_graph; }

}  // namespace diffq

namespace {

class Gpu : public testing::Environment {
 public:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no GPU: skipped";
    diffq::prepare_device(diffq::test_device());
  }
};

const auto* const kGpu = testing::AddGlobalTestEnvironment(new Gpu);

}  // namespace
