#include "tests/support/repeated_work.h"
#include "tests/support/test_device.h"
#include "trainer/update_kernel_table.h"

namespace diffq {

const UpdateKernels& test_update_kernels() { return kUpdateKernels; }
MakeStepGraph test_step_graphs() {
  return []() -> std::unique_ptr<StepGraph> { return std::make_unique<RepeatedWork>(); };
}

}  // namespace diffq
