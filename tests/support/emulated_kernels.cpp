#include "quant/device_kernel_table.h"
#include "tests/support/test_device.h"

namespace diffq {

at::Device test_device() { return at::kCPU; }
const DeviceKernels& test_kernels() { return kDeviceKernels; }

}  // namespace diffq
