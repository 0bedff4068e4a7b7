#include "trainer/update_kernel_table.h"

namespace diffq {

const UpdateKernels& cuda_update_kernels() { return kUpdateKernels; }

}  // namespace diffq
