#include "tests/support/emulated_kernels.h"
#include "trainer/update_kernel_table.h"

namespace diffq {

const UpdateKernels& emulated_update_kernels() { return kUpdateKernels; }

}  // namespace diffq
