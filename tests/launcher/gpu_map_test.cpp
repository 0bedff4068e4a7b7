#include "launcher/gpu_map.h"

#include <gtest/gtest.h>

namespace diffq {
namespace {

using Gpus = std::vector<std::string>;
using Chosen = std::vector<int>;

// Ranks of one host that all see the same GPUs.
std::vector<RankGpus> alike(int count, const Gpus& uuids, int node = 0) {
  return std::vector<RankGpus>(static_cast<size_t>(count), {{node, "h" + std::to_string(node)}, uuids});
}

Chosen chosen(const std::vector<RankGpus>& ranks, int ranks_per_gpu) {
  return choose_gpus(DeviceChoice::automatic, ranks, ranks_per_gpu);
}

std::string failure_of(const std::vector<RankGpus>& ranks, int ranks_per_gpu) {
  try {
    chosen(ranks, ranks_per_gpu);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

TEST(GpuMap, ARankAGpuInOrder) {
  EXPECT_EQ(chosen(alike(4, {"a", "b", "c", "d"}), 1), (Chosen{0, 1, 2, 3}));
  EXPECT_EQ(chosen(alike(2, {"a", "b", "c", "d"}), 1), (Chosen{0, 1}));
}

TEST(GpuMap, HostsCountForThemselves) {
  // The second host's ranks are 2 to 4: their local ranks decide, not their ranks in the world.
  std::vector<RankGpus> ranks = alike(2, {"a", "b"});
  for (const RankGpus& other : alike(3, {"a", "b", "c"}, 2)) ranks.push_back(other);
  EXPECT_EQ(chosen(ranks, 1), (Chosen{0, 1, 0, 1, 2}));
  // Ranks dealt to the hosts in turn.
  const std::vector<RankGpus> dealt{
      {{0, "x"}, {"a", "b"}}, {{1, "y"}, {"c", "d"}}, {{0, "x"}, {"a", "b"}}, {{1, "y"}, {"c", "d"}}};
  EXPECT_EQ(chosen(dealt, 1), (Chosen{0, 0, 1, 1}));
}

TEST(GpuMap, OneVisibleGpuATask) {
  // As Slurm does with --gpus-per-task=1: each rank's only one is its GPU 0.
  const std::vector<RankGpus> ranks{{{0, "x"}, {"a"}}, {{0, "x"}, {"b"}}, {{0, "x"}, {"c"}}};
  EXPECT_EQ(chosen(ranks, 1), (Chosen{0, 0, 0}));
  // The same GPU under both of them is not a GPU for each.
  const std::vector<RankGpus> same{{{0, "x"}, {"a"}}, {{0, "x"}, {"a"}}};
  EXPECT_EQ(failure_of(same, 1),
            "GPUs: host x: 2 ranks and 1 GPU; start a rank a GPU (mpirun -n with --map-by ppr:1:node, Slurm: "
            "--gpus-per-task=1), or let ranks share one with --ranks-per-gpu 2");
  EXPECT_EQ(chosen(same, 2), (Chosen{0, 0}));
}

TEST(GpuMap, RanksShareOnlyWhenAskedTo) {
  const std::string failure = failure_of(alike(8, {"a", "b", "c", "d"}, 3), 1);
  EXPECT_NE(failure.find("host h3: 8 ranks and 4 GPUs;"), std::string::npos) << failure;
  EXPECT_NE(failure.find("--ranks-per-gpu 2"), std::string::npos) << failure;
  EXPECT_NE(failure.find("ppr:4:node"), std::string::npos) << failure;
  // Neighbours, which often are of one group, get different GPUs.
  EXPECT_EQ(chosen(alike(8, {"a", "b", "c", "d"}), 2), (Chosen{0, 1, 2, 3, 0, 1, 2, 3}));
  EXPECT_EQ(chosen(alike(3, {"a", "b"}), 2), (Chosen{0, 1, 0}));
  EXPECT_EQ(chosen(alike(2, {"a", "b"}), 2), (Chosen{0, 1})) << "none is shared without need";
  EXPECT_NE(failure_of(alike(5, {"a", "b"}), 2).find("--ranks-per-gpu 3"), std::string::npos);
}

TEST(GpuMap, RanksThatSeeDifferentGpus) {
  const std::vector<RankGpus> ranks{{{0, "x"}, {"a", "b"}}, {{0, "x"}, {"b", "a"}}};
  EXPECT_EQ(chosen(ranks, 1), (Chosen{0, 0})) << "a and b: the second rank's order is another";
  const std::vector<RankGpus> narrow{{{0, "x"}, {"a", "b"}}, {{0, "x"}, {"a"}}};
  EXPECT_NE(failure_of(narrow, 1).find("rank 1 sees only such as other ranks have already"),
            std::string::npos)
      << failure_of(narrow, 1);
}

TEST(GpuMap, ARankWithoutGpu) {
  const std::vector<RankGpus> ranks{{{0, "x"}, {"a"}}, {{0, "x"}, {}}};
  const std::string failure = failure_of(ranks, 1);
  EXPECT_NE(failure.find("host x: rank 1 sees no GPU; see what CUDA_VISIBLE_DEVICES is"), std::string::npos)
      << failure;
}

TEST(GpuMap, CpuIsTakenWhereItIsAskedForOrThereIsNothingElse) {
  const Chosen none{kNoGpu, kNoGpu};
  EXPECT_EQ(choose_gpus(DeviceChoice::cpu, alike(2, {"a", "b"}), 1), none);
  EXPECT_EQ(choose_gpus(DeviceChoice::cpu, alike(2, {"a"}), 1), none);
  EXPECT_EQ(choose_gpus(DeviceChoice::automatic, alike(2, {}), 1), none);
  EXPECT_THROW(choose_gpus(DeviceChoice::cuda, alike(2, {}), 1), std::invalid_argument);
  EXPECT_THROW(choose_gpus(DeviceChoice::automatic, alike(2, {"a"}), 1), std::invalid_argument)
      << "no rank is left on the CPU in silence";
}

TEST(GpuMap, IsPrintedByHost) {
  std::vector<RankGpus> ranks = alike(2, {"GPU-5d0e87a1-0000", "GPU-a1b2c3d4-0000"});
  ranks.push_back({{2, "h2"}, {"GPU-ffffffff-0000"}});
  EXPECT_EQ(gpu_map_text(ranks, {0, 1, 0}),
            "host h0: rank 0 on GPU 0 (GPU-5d0e87a1), rank 1 on GPU 1 (GPU-a1b2c3d4)\n"
            "host h2: rank 2 on GPU 0 (GPU-ffffffff)\n");
}

}  // namespace
}  // namespace diffq
