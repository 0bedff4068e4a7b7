#pragma once
// The GPU's kernels as loops on the CPU: the same bodies, one thread after another.

#include "quant/device_kernels.h"

namespace diffq {

const DeviceKernels& emulated_kernels();

}  // namespace diffq
