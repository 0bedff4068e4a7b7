#pragma once
// Where the tests of device code run: on the CPU with emulated kernels, or, in tests/gpu, on a GPU with its
// own.

#include <c10/core/Device.h>

#include "quant/device_kernels.h"
#include "trainer/step_graph.h"
#include "trainer/update_kernels.h"

namespace diffq {

at::Device test_device();
const DeviceKernels& test_kernels();
const UpdateKernels& test_update_kernels();
/// CUDA graphs; emulated, work that is done again, in which no step number or λ may be sent to the device.
MakeStepGraph test_step_graphs();

}  // namespace diffq
