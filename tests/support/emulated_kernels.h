#pragma once
// The GPU's kernels as loops on the CPU: the same bodies, one thread after another.

#include "quant/device_kernels.h"
#include "trainer/update_kernels.h"

namespace diffq {

const DeviceKernels& emulated_kernels();
const UpdateKernels& emulated_update_kernels();

}  // namespace diffq
