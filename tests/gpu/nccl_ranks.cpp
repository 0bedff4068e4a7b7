// Groups of ranks on real GPUs, with NCCL itself: mpirun -n N nccl_ranks. Several ranks share a GPU where
// there are fewer, which takes NCCL 2.30 and NCCL_MULTI_RANK_GPU_ENABLE=1. 77: skipped.

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <future>

#include "launcher/gpu_map.h"
#include "launcher/nccl_communicator.h"
#include "quant/device_memory.h"
#include "quant/device_quantizer.h"
#include "tests/mpi/groups.h"
#include "tests/support/gpu_trace.h"
#include "tests/support/thread_communicator.h"
#include "tests/trainer/training_rig.h"
#include "trainer/device.h"
#include "trainer/update_kernels.h"

namespace diffq {
namespace {

using namespace std::chrono_literals;

constexpr int kSkipped = 77;

// What all tests use, set by main: gtest leaves no other way to hand it over.
struct Place {
  NcclApi* api = nullptr;
  at::Device device = at::kCPU;
};
Place& place() {
  static Place place;
  return place;
}

NcclSettings settings(std::chrono::milliseconds deadline,
                      std::function<void(const CollectiveWatch::Trouble&)> alarm) {
  const at::Device device = place().device;
  return {device, [device] { return reinterpret_cast<GpuStream*>(current_stream(device)); }, deadline,
          std::move(alarm)};
}

void no_alarm(const CollectiveWatch::Trouble& trouble) { ADD_FAILURE() << trouble.what; }

TEST(NcclRanks, MeansAreExact) {
  Group hosts(world_size());
  NcclCommunicator group(*place().api, *hosts, settings(60s, no_alarm));
  for (int round = 0; round < 20; ++round) {
    std::vector<at::Tensor> buckets, means;
    for (const int64_t numel : {1, 3, 65536, 300001}) {
      const at::Tensor ramp = at::arange(numel, at::kFloat).remainder(1000).mul(16);
      buckets.push_back((ramp * (group.rank() + 1 + round)).to(place().device));
      means.push_back(ramp * ((group.size() + 1) / 2.0 + round));
      group.start_sum(buckets.back());
    }
    group.wait();
    for (size_t b = 0; b < buckets.size(); ++b)
      EXPECT_TRUE(at::allclose(buckets[b].cpu(), means[b], 1e-6)) << "bucket " << b << ", round " << round;
  }
}

std::vector<double> losses(const RunSpec& spec, const DataSplits& data, Communicator& communicator) {
  const OwnStream stream(place().device);
  RigParts parts;
  parts.make_graph = make_cuda_graph;
  parts.task = make_task(spec, data.shape);
  parts.task->module().to(place().device);
  parts.quantizer = make_quantizer(spec.method, spec.quant, place().device);
  parts.kernels = &cuda_update_kernels();
  parts.limits = {512, 4096};
  TrainingRig rig(spec, data, communicator, parts);
  std::vector<double> result;
  for (int step = 0; step < 20; ++step) result.push_back(rig.step(step).loss);
  return result;
}

TEST(NcclRanks, TheLossesAreThoseOfOneRank) {
  const DataSplits data = memory_splits();
  RunSpec spec = small_spec(Method::diffq);
  spec.method.rank_noise = RankNoise::shared;
  spec.method.lambda = 3;
  const std::vector<double> alone = losses(spec, data, *single_rank());
  Group hosts(world_size());
  NcclCommunicator group(*place().api, *hosts, settings(60s, no_alarm));
  const std::vector<double> together = losses(spec, data, group);
  EXPECT_LT(alone.back(), alone.front());
  for (size_t step = 0; step < alone.size(); ++step) EXPECT_NEAR(together[step], alone[step], 1e-3) << step;
  spec.train.cuda_graph = true;
  const std::vector<double> recorded = losses(spec, data, group);
  for (size_t step = 0; step < alone.size(); ++step)
    EXPECT_NEAR(recorded[step], together[step], 1e-5) << step;
}

bool is_sum(const GpuWork& work) { return work.name.find("ncclDevKernel") != std::string::npos; }

TEST(NcclRanks, SumsGoOnBesideBackward) {
  RunSpec spec;
  spec.model.name = ModelName::resnet18;
  spec.method.method = Method::diffq;
  spec.train.batch_size = 256;
  const ImageShape shape{3, 32, 32, 10};
  const auto images = std::make_shared<MemoryData>(1024, shape, 1);
  const DataSplits data{shape, images, images, images};
  RigParts parts;
  parts.task = make_task(spec, data.shape);
  parts.task->module().to(place().device);
  parts.quantizer = make_quantizer(spec.method, spec.quant, place().device);
  parts.kernels = &cuda_update_kernels();
  Group hosts(world_size());
  NcclCommunicator group(*place().api, *hosts, settings(60s, no_alarm));
  TrainingRig rig(spec, data, group, parts);
  for (int step = 0; step < 2; ++step) rig.step(step);
  GpuTrace trace;
  for (int step = 2; step < 4; ++step) rig.step(step);
  const std::vector<GpuWork> all = trace.end();
  // Kernels of the model that begin and end while a sum is under way, on another stream.
  int64_t sums = 0, beside = 0;
  double sum_ms = 0;
  for (const GpuWork& sum : all) {
    if (!is_sum(sum)) continue;
    ++sums;
    sum_ms += 1e-6 * static_cast<double>(sum.end - sum.begin);
    beside += std::ranges::count_if(all, [&](const GpuWork& work) {
      return !is_sum(work) && work.stream != sum.stream && work.begin >= sum.begin && work.end <= sum.end;
    });
  }
  std::printf("rank %d: %zu kernels in 2 steps, %lld sums of %.2f ms in all, %lld kernels beside them\n",
              group.rank(), all.size(), static_cast<long long>(sums), sum_ms, static_cast<long long>(beside));
  EXPECT_GE(sums, 4);
  EXPECT_GT(beside, 10);
}

TEST(NcclRanks, ARankThatNeverArrivesIsNamed) {
  Group hosts(world_size());
  std::promise<std::string> told;
  NcclCommunicator group(*place().api, *hosts,
                         settings(5s, [&](const auto& trouble) { told.set_value(trouble.what); }));
  const at::Tensor bucket = at::ones({1 << 20}, place().device);
  group.start_sum(bucket);
  group.wait();
  const int last = group.size() - 1;
  if (group.rank() != last) group.start_sum(bucket);
  auto future = told.get_future();
  ASSERT_EQ(future.wait_for(30s), std::future_status::ready);
  const std::string what = future.get();
  EXPECT_NE(what.find("rank " + std::to_string(last) + "/" + std::to_string(group.size())), std::string::npos)
      << what;
  EXPECT_NE(what.find("is behind: its last is {seq 2, op all-reduce"), std::string::npos) << what;
  hosts->agree("");
}

int run(int* argc, char** argv) {
  testing::InitGoogleTest(argc, argv);
  const World world;
  const auto api = nccl_library();
  const std::vector<RankGpus> ranks = gather_gpus(world, api->gpu_uuids());
  // All on one host: as many a GPU as it takes.
  const int gpus = static_cast<int>(api->gpu_uuids().size());
  const int ranks_per_gpu = gpus == 0 ? 0 : (world.local_size() + gpus - 1) / gpus;
  if (ranks_per_gpu == 0 || (ranks_per_gpu > 1 && api->version() < "2.30")) {
    if (world.rank() == 0)
      std::printf("no GPU: skipped (%d GPUs, %d ranks, NCCL %s)\n", gpus, world.size(),
                  gpus == 0 ? "-" : api->version().c_str());
    world.barrier();
    return kSkipped;
  }
  std::vector<int> chosen(static_cast<size_t>(world.size()));
  if (world.rank() == 0) {
    chosen = choose_gpus(DeviceChoice::cuda, ranks, ranks_per_gpu);
    std::fputs(gpu_map_text(ranks, chosen).c_str(), stdout);
  }
  MPI_Bcast(chosen.data(), world.size(), MPI_INT, 0, MPI_COMM_WORLD);
  const int gpu = chosen[static_cast<size_t>(world.rank())];
  api->use_gpu(gpu);
  place() = {api.get(), at::Device(at::kCUDA, static_cast<at::DeviceIndex>(gpu))};
  prepare_device(place().device);
  const int failed = RUN_ALL_TESTS();
  world.barrier();
  return failed;
}

}  // namespace
}  // namespace diffq

int main(int argc, char** argv) { return diffq::run(&argc, argv); }
