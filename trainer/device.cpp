#include "trainer/device.h"

#include <torch/torch.h>

#include <cstdio>
#include <mutex>
#include <set>
#include <string>

namespace diffq {
namespace {

/// torch's C++ tells the same at every call.
class EachOnce : public c10::WarningHandler {
 public:
  void process(const c10::Warning& warning) override {
    // cuDNN copies an LSTM's weights at every call, since they are where the quantizer has them.
    if (warning.msg().starts_with("RNN module weights are not part of single contiguous chunk")) return;
    const std::lock_guard lock(mutex_);
    if (told_.insert(warning.msg()).second)
      std::fprintf(stderr, "diffq: warning: torch: %s\n", warning.msg().c_str());
  }

 private:
  std::mutex mutex_;
  std::set<std::string> told_;
};

}  // namespace

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
  static EachOnce warnings;
  c10::WarningUtils::set_warning_handler(&warnings);  // of this thread
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
