#include "quant/device_kernel_table.h"

namespace diffq {

const DeviceKernels& cuda_kernels() { return kDeviceKernels; }

}  // namespace diffq
