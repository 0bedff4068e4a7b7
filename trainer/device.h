#pragma once
// A training on its device, the CPU or a GPU.

#include "datasets/dataset.h"
#include "trainer/run_spec.h"

namespace torch::nn {
class Module;
}

namespace diffq {

/// Pictures [n, channels, height, width] with the channels of a pixel side by side in memory, the order in
/// which a GPU convolves fastest; it stays so through the layers of a model. Other tensors as they are.
at::Tensor channels_last(const at::Tensor& input);
/// The batch itself on the CPU. On a GPU a copy that the host does not wait for (none of what is there
/// already); pictures that are convolved in bfloat16 channels_last, which in float32 takes longer.
Batch on_device(const Batch& batch, at::Device device, Precision precision = Precision::fp32);
/// Before anything is trained there: on a GPU as on the CPU as far as that goes, without TF32 in
/// convolutions. From then on this thread tells each of torch's warnings once, on stderr.
void prepare_device(at::Device device, Algorithms algorithms = Algorithms::repeatable);
/// Where a module's parameters are.
at::Device device_of(const torch::nn::Module& module);

}  // namespace diffq
