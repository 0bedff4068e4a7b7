#include "trainer/device.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace diffq {
namespace {

TEST(Device, TellsEachOfTorchsWarningsOnce) {
  prepare_device(at::kCPU);
  testing::internal::CaptureStderr();
  for (int k = 0; k < 3; ++k) {
    TORCH_WARN("this is slow");
    TORCH_WARN("RNN module weights are not part of single contiguous chunk of memory. This means that");
  }
  prepare_device(at::kCPU);
  TORCH_WARN("this is slow");
  TORCH_WARN("that too");
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "diffq: warning: torch: this is slow\ndiffq: warning: torch: that too\n");
}

}  // namespace
}  // namespace diffq
