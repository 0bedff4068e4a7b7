#pragma once
// Which GPU each rank works on. A rank may see all GPUs of its host or only some (CUDA_VISIBLE_DEVICES, as
// Slurm sets it for each task); GPUs are told apart by their UUIDs, never by counting.

#include <c10/core/Device.h>

#include <string>
#include <vector>

#include "launcher/device_choice.h"
#include "launcher/world.h"

namespace diffq {

/// What a rank has to choose from.
struct RankGpus {
  RankPlace place;
  std::vector<std::string> uuids;  ///< of the GPUs that it sees, in CUDA's order
};

inline constexpr int kNoGpu = -1;

/// For each rank its index among the GPUs that it sees, the first of those with the fewest ranks so far; or
/// kNoGpu for all, with DeviceChoice::cpu, and with automatic where no rank sees any. Ranks share a GPU only
/// as far as `ranks_per_gpu` (1: not at all) says. Throws std::invalid_argument with the remedy where there
/// are not enough.
std::vector<int> choose_gpus(DeviceChoice choice, const std::vector<RankGpus>& ranks, int ranks_per_gpu);

/// A line a host: "host a: rank 0 on GPU 0 (GPU-5d0e87a1), rank 1 on GPU 1 (GPU-a1b2c3d4)".
std::string gpu_map_text(const std::vector<RankGpus>& ranks, const std::vector<int>& chosen);

/// Of a command that works alone: the first GPU that it sees, or the CPU. The same errors.
at::Device choose_device(DeviceChoice choice);

/// Collective over the world: of all ranks, on rank 0. `uuids`: what this one sees.
std::vector<RankGpus> gather_gpus(const World& world, const std::vector<std::string>& uuids);

}  // namespace diffq
