#pragma once
// Which GPU each rank works on. A rank may see all GPUs of its host or only some (CUDA_VISIBLE_DEVICES, as
// Slurm sets it for each task); GPUs are told apart by their UUIDs, never by counting.

#include <string>
#include <vector>

#include "launcher/world.h"

namespace diffq {

/// What a rank has to choose from.
struct RankGpus {
  RankPlace place;
  std::vector<std::string> uuids;  ///< of the GPUs that it sees, in CUDA's order
};

/// For each rank its index among the GPUs that it sees: the first of those with the fewest ranks so far.
/// Ranks share a GPU only as far as `ranks_per_gpu` (1: not at all) says. Throws std::invalid_argument with
/// the remedy where there are not enough.
std::vector<int> choose_gpus(const std::vector<RankGpus>& ranks, int ranks_per_gpu);

/// A line a host: "host a: rank 0 on GPU 0 (GPU-5d0e87a1), rank 1 on GPU 1 (GPU-a1b2c3d4)".
std::string gpu_map_text(const std::vector<RankGpus>& ranks, const std::vector<int>& chosen);

/// Collective over the world: this rank's GPU, out of those with `uuids`. Rank 0 prints the map; where there
/// are not enough, all ranks throw std::invalid_argument.
int gpu_of_this_rank(const World& world, const std::vector<std::string>& uuids, int ranks_per_gpu);

}  // namespace diffq
