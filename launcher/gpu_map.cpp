#include "launcher/gpu_map.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "launcher/nccl_api.h"

namespace diffq {
namespace {

constexpr size_t kShortUuid = 12;  // "GPU-5d0e87a1": enough to find it in what nvidia-smi -L prints

// Why there is no GPU left for `rank`, and what helps.
[[noreturn]] void too_few(const std::vector<RankGpus>& ranks, size_t rank, int ranks_per_gpu) {
  std::set<std::string> uuids;
  int local_ranks = 0;
  for (const RankGpus& other : ranks) {
    if (other.place.node != ranks[rank].place.node) continue;
    ++local_ranks;
    uuids.insert(other.uuids.begin(), other.uuids.end());
  }
  const std::string host = "GPUs: host " + ranks[rank].place.host + ": ";
  if (ranks[rank].uuids.empty()) {
    throw std::invalid_argument(
        host + "rank " + std::to_string(rank) +
        " sees no GPU; see what CUDA_VISIBLE_DEVICES is set to, and whether nvidia-smi "
        "lists one there (Slurm: --gpus-per-task=1); --device cpu does without");
  }
  const auto gpus = static_cast<int>(uuids.size());
  std::string problem =
      std::to_string(local_ranks) + " ranks and " + std::to_string(gpus) + (gpus == 1 ? " GPU" : " GPUs");
  if (ranks_per_gpu > 1) problem += ", with " + std::to_string(ranks_per_gpu) + " ranks a GPU at most";
  if (local_ranks <= gpus * ranks_per_gpu)
    problem += ", but rank " + std::to_string(rank) + " sees only such as other ranks have already";
  const int needed = (local_ranks + gpus - 1) / gpus;
  throw std::invalid_argument(
      host + problem +
      "; start a rank a GPU (mpirun -n with --map-by ppr:" + std::to_string(gpus * ranks_per_gpu) +
      ":node, Slurm: --gpus-per-task=1), or let ranks share one with --ranks-per-gpu " +
      std::to_string(std::max(needed, ranks_per_gpu + 1)));
}

}  // namespace

std::vector<int> choose_gpus(DeviceChoice choice, const std::vector<RankGpus>& ranks, int ranks_per_gpu) {
  const bool any = std::ranges::any_of(ranks, [](const RankGpus& rank) { return !rank.uuids.empty(); });
  if (choice == DeviceChoice::cpu || (choice == DeviceChoice::automatic && !any))
    return std::vector<int>(ranks.size(), kNoGpu);
  std::map<std::pair<int, std::string>, int> taken;  // ranks of each (node, GPU)
  std::vector<int> chosen;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    const auto& uuids = ranks[rank].uuids;
    const auto load = [&](const std::string& uuid) { return taken[{ranks[rank].place.node, uuid}]; };
    const auto best = std::ranges::min_element(uuids, {}, load);
    if (best == uuids.end() || load(*best) >= ranks_per_gpu) too_few(ranks, rank, ranks_per_gpu);
    ++taken[{ranks[rank].place.node, *best}];
    chosen.push_back(static_cast<int>(best - uuids.begin()));
  }
  return chosen;
}

at::Device choose_device(DeviceChoice choice) {
  const auto api = choice == DeviceChoice::cpu ? nullptr : nccl_library();
  const std::vector<RankGpus> alone{{{0, host_name()}, api ? api->gpu_uuids() : std::vector<std::string>{}}};
  const int gpu = choose_gpus(choice, alone, 1)[0];
  if (gpu == kNoGpu) return at::kCPU;
  api->use_gpu(gpu);
  return {at::kCUDA, static_cast<at::DeviceIndex>(gpu)};
}

std::string gpu_map_text(const std::vector<RankGpus>& ranks, const std::vector<int>& chosen) {
  std::map<int, std::string> lines;  // by node
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    std::string& line = lines[ranks[rank].place.node];
    line += line.empty() ? "host " + ranks[rank].place.host + ": " : ", ";
    line += "rank " + std::to_string(rank) + " on GPU " + std::to_string(chosen[rank]) + " (" +
            ranks[rank].uuids[static_cast<size_t>(chosen[rank])].substr(0, kShortUuid) + ")";
  }
  std::string text;
  for (const auto& [node, line] : lines) text += line + "\n";
  return text;
}

std::vector<RankGpus> gather_gpus(const World& world, const std::vector<std::string>& uuids) {
  const std::vector<RankPlace> places = world.places();
  const std::vector<std::string> gathered = world.gather(nlohmann::json(uuids).dump());
  std::vector<RankGpus> ranks;
  for (size_t rank = 0; rank < gathered.size(); ++rank)
    ranks.push_back({places[rank], nlohmann::json::parse(gathered[rank])});
  return ranks;
}

}  // namespace diffq
