#include "trainer/device.h"

#include <torch/torch.h>

namespace diffq {

at::Tensor channels_last(const at::Tensor& input) {
  return input.dim() == 4 ? input.contiguous(at::MemoryFormat::ChannelsLast) : input;
}

Batch on_device(const Batch& batch, at::Device device, Precision precision) {
  if (device.is_cpu()) return batch;
  // From page-locked memory: from any other the copy would wait.
  const auto copy = [&](const at::Tensor& tensor) {
    if (tensor.device() == device) return tensor;
    return tensor.pin_memory().to(device, /*non_blocking=*/true);
  };
  const at::Tensor input = copy(batch.input);
  return {precision == Precision::bf16 ? channels_last(input) : input, copy(batch.target)};
}

void prepare_device(at::Device device, Algorithms algorithms) {
  if (device.is_cpu()) return;
  at::globalContext().setAllowTF32CuDNN(false);
  at::globalContext().setDeterministicCuDNN(algorithms == Algorithms::repeatable);
  at::globalContext().setBenchmarkCuDNN(algorithms == Algorithms::fastest);
}

at::Device device_of(const torch::nn::Module& module) {
  const auto parameters = module.parameters();
  return parameters.empty() ? at::Device(at::kCPU) : parameters.front().device();
}

}  // namespace diffq
