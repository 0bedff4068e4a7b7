#include "launcher/device_choice.h"

#include <torch/cuda.h>

#include <stdexcept>
#include <string>

namespace diffq {

at::Device choose_device(DeviceChoice choice, int gpus, int local_ranks, int ranks_per_run) {
  // A second rank of the host would need a GPU of its own, a second one of the run a communicator for GPUs.
  const bool alone = local_ranks == 1 && ranks_per_run == 1;
  if (choice == DeviceChoice::cpu) return at::kCPU;
  if (gpus > 0 && alone) return {at::kCUDA, 0};
  if (choice == DeviceChoice::automatic) return at::kCPU;
  if (gpus == 0) {
    throw std::invalid_argument(
        "--device: cuda: no GPU is seen here (nvidia-smi lists those of a host, CUDA_VISIBLE_DEVICES hides "
        "some), or the program was built without CUDA; cpu trains without one");
  }
  throw std::invalid_argument("--device: cuda: " + std::to_string(local_ranks) +
                              " ranks on this host; one rank a host trains on a GPU, the others need cpu");
}

int visible_gpus() { return static_cast<int>(torch::cuda::device_count()); }

}  // namespace diffq
