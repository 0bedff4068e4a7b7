#include "tests/support/emulated_kernels.h"

#include "quant/device_kernel_table.h"

namespace diffq {

const DeviceKernels& emulated_kernels() { return kDeviceKernels; }

}  // namespace diffq
