#include "tests/support/test_device.h"
#include "trainer/update_kernel_table.h"

namespace diffq {

const UpdateKernels& test_update_kernels() { return kUpdateKernels; }

}  // namespace diffq
