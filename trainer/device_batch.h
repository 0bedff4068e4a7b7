#pragma once
// Batches on the device that a model is on.

#include "datasets/dataset.h"

namespace torch::nn {
class Module;
}

namespace diffq {

/// The batch itself on the CPU. On a GPU a copy that the host does not wait for.
Batch on_device(const Batch& batch, at::Device device);
/// Where a module's parameters are.
at::Device device_of(const torch::nn::Module& module);

}  // namespace diffq
