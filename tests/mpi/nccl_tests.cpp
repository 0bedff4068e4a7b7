// The logic of the communicator on NCCL, with NCCL and CUDA played by the stand-in.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/mpi/nccl_group.h"
#include "tests/trainer/training_rig.h"

namespace diffq {
namespace {

// With multiples of 16 below 2^20: means over up to 16 ranks are exact.
void fill(const at::Tensor& tensor, int rank, int64_t bucket, int round) {
  float* data = tensor.mutable_data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i)
    data[i] = static_cast<float>((rank * 7919 + bucket * 104729 + i * 31 + round * 17) % (1 << 16) * 16);
}

class EveryNcclGroup : public testing::TestWithParam<std::tuple<int, int>> {};

INSTANTIATE_TEST_SUITE_P(Ranks, EveryNcclGroup,
                         testing::Combine(testing::ValuesIn({1, 2, 4}), testing::Values(0, 3)));

// The kernels that fill the buckets start only when the host has asked for everything: that the means are
// right shows that sums wait for the computing stream, it for them, and the host for neither.
TEST_P(EveryNcclGroup, MeansAreExactAndTheHostNeverWaits) {
  const auto [ranks, busy_polls] = GetParam();
  if (world_size() % ranks != 0) GTEST_SKIP() << "groups of " << ranks;
  NcclGroup group(ranks);
  group.api.busy_polls = busy_polls;
  group.start();
  const std::vector<int64_t> sizes{1, 3, 1000, 65536, 7, 30001};
  for (int round = 0; round < 10; ++round) {
    std::vector<at::Tensor> buckets, seen;
    std::promise<void> gate;
    group.api.launch(group.compute, [opened = gate.get_future().share()] { opened.wait(); });
    for (size_t b = 0; b < sizes.size(); ++b) {
      const at::Tensor bucket = buckets.emplace_back(at::full({sizes[b]}, -1.0f));
      seen.push_back(at::zeros_like(bucket));
      group.api.launch(group.compute, [=, rank = group.rank(), number = group.number()] {
        std::this_thread::sleep_for(200us * rank);
        fill(bucket, rank, static_cast<int64_t>(b) + number, round);
      });
      group.communicator->start_sum(bucket);
    }
    group.communicator->wait();
    group.api.launch(group.compute, [&] {
      for (size_t b = 0; b < sizes.size(); ++b) seen[b].copy_(buckets[b]);
    });
    gate.set_value();
    group.api.synchronize(group.compute);
    for (size_t b = 0; b < sizes.size(); ++b) {
      at::Tensor mean = at::zeros_like(seen[b]), part = at::empty_like(mean);
      for (int rank = 0; rank < ranks; ++rank) {
        fill(part, rank, static_cast<int64_t>(b) + group.number(), round);
        mean.add_(part, 1.0 / ranks);
      }
      ASSERT_TRUE(at::equal(seen[b], mean)) << "bucket " << b << ", round " << round;
    }
  }
  group.communicator.reset();
  EXPECT_EQ(group.api.misuse(), "");
  EXPECT_EQ(group.api.aborted(), 0);
  EXPECT_EQ(group.api.alive(), 1) << "all but the test's own stream is given back";
  EXPECT_TRUE(group.alarms.empty());
}

TEST(Nccl, CallsComeInThisOrder) {
  NcclGroup group(world_size());
  group.start();
  const std::string place = std::to_string(group.rank()) + "/" + std::to_string(group.size());
  std::vector<std::string> expected{"cudaStreamCreateWithPriority 1"};
  if (group.rank() == 0) expected.push_back("ncclGetUniqueId");
  expected.insert(expected.end(), {"cudaStreamCreateWithPriority 2", "ncclCommInitRankConfig " + place});
  EXPECT_EQ(group.api.calls(), expected);
  const size_t before = group.api.calls().size();

  const at::Tensor first = at::zeros({262144}), second = at::zeros({1000}),
                   third = at::zeros({6}, at::kShort);
  group.communicator->start_sum(first);
  group.communicator->start_sum(second);
  group.communicator->wait();
  group.communicator->broadcast(third);
  group.api.synchronize(group.compute);
  group.communicator.reset();
  const auto calls = group.api.calls();
  // Stream 1 computes, stream 2 sums. Event 1 is that of wait(); each collective has two.
  const std::vector<std::string> step{"cudaEventRecord 2, stream 1",
                                      "cudaStreamWaitEvent stream 2, 2",
                                      "ncclAllReduce 262144 floats, mean, stream 2",
                                      "cudaEventRecord 3, stream 2",
                                      "cudaEventRecord 4, stream 1",
                                      "cudaStreamWaitEvent stream 2, 4",
                                      "ncclAllReduce 1000 floats, mean, stream 2",
                                      "cudaEventRecord 5, stream 2",
                                      "cudaEventRecord 1, stream 2",
                                      "cudaStreamWaitEvent stream 1, 1",
                                      "cudaEventRecord 6, stream 1",
                                      "cudaStreamWaitEvent stream 2, 6",
                                      "ncclBroadcast 12 bytes from 0, stream 2",
                                      "cudaEventRecord 7, stream 2",
                                      "cudaEventRecord 1, stream 2",
                                      "cudaStreamWaitEvent stream 1, 1",
                                      "ncclCommFinalize",
                                      "ncclCommDestroy"};
  EXPECT_EQ(std::vector<std::string>(calls.begin() + static_cast<std::ptrdiff_t>(before), calls.end()), step);
}

TEST(Nccl, BroadcastsWhereTheTensorLies) {
  NcclGroup group(world_size());
  group.start();
  const at::Tensor numbers = at::arange(5, at::kDouble) + 10 * group.rank();
  group.communicator->broadcast(numbers);
  group.api.synchronize(group.compute);
  EXPECT_TRUE(at::equal(numbers, at::arange(5, at::kDouble)));
  group.communicator.reset();

  group.start(at::Device(at::kCUDA, 2));
  const at::Tensor host = at::full({3}, group.rank() + 7, at::kLong);
  group.communicator->broadcast(host);
  EXPECT_TRUE(at::equal(host, at::full({3}, 7, at::kLong)));
  const auto calls = group.api.calls();
  EXPECT_EQ(std::ranges::count_if(calls, [](const auto& c) { return c.starts_with("ncclBroadcast"); }), 1);
  EXPECT_NE(std::ranges::find(calls, "cudaSetDevice 2"), calls.end());
  EXPECT_THROW(group.communicator->start_sum(at::zeros({4})), c10::Error) << "host memory is not for NCCL";
}

// For a trainer on the CPU: memory may be read when wait() returns.
class SynchronousNccl : public Communicator {
 public:
  explicit SynchronousNccl(NcclGroup& group) : group_(group) {}
  int rank() const override { return group_.communicator->rank(); }
  int size() const override { return group_.communicator->size(); }
  double divisor() const override { return group_.communicator->divisor(); }
  void start_sum(const at::Tensor& bucket) override { group_.communicator->start_sum(bucket); }
  void wait() override {
    group_.communicator->wait();
    group_.api.synchronize(group_.compute);
  }
  void broadcast(const at::Tensor& tensor) override {
    group_.communicator->broadcast(tensor);
    group_.api.synchronize(group_.compute);
  }
  void sum(std::span<double> values) override { group_.communicator->sum(values); }

 protected:
  std::string first_failure(const std::string& mine) override { return group_.hosts().gather_failure(mine); }

 private:
  NcclGroup& group_;
};

// Means that come out of the sum and sums that are divided later: the same training; with two ranks bit for
// bit, with more but for the order in which MPI adds.
TEST(Nccl, TrainsAsOverMpi) {
  NcclGroup group(world_size());
  group.start();
  SynchronousNccl nccl(group);
  const DataSplits data = memory_splits();
  RunSpec spec = small_spec(Method::diffq);
  spec.method.lambda = 3;
  spec.train.max_grad_norm = 0.5;
  const BucketLimits limits{512, 4096};
  TrainingRig over_mpi(spec, data, group.hosts(), {.limits = limits});
  TrainingRig over_nccl(spec, data, nccl, {.limits = limits});
  EXPECT_GT(over_nccl.store.buckets().size(), 3u);
  for (int64_t step = 0; step < 8; ++step) {
    const StepResult expected = over_mpi.step(step), result = over_nccl.step(step);
    EXPECT_NEAR(result.loss, expected.loss, 1e-5);
    EXPECT_NEAR(result.gradient_norm, expected.gradient_norm, 1e-5);
    EXPECT_EQ(over_nccl.buckets.nonfinite_ranks(), 0);
  }
  const auto expected = over_mpi.state(), state = over_nccl.state();
  for (size_t i = 0; i < state.size(); ++i) EXPECT_TRUE(at::allclose(state[i], expected[i], 1e-4, 1e-6));
  if (group.size() == 2) {
    EXPECT_TRUE(same_bits(state, expected));
  }
  // The last bucket's flags count ranks although they come as means.
  over_nccl.buckets.begin();
  over_nccl.buckets.set_stop(true);
  over_nccl.buckets.finish(group.rank() == 0 ? at::full({}, NAN) : at::zeros({}), "");
  EXPECT_EQ(over_nccl.buckets.nonfinite_ranks(), 1);
  EXPECT_EQ(over_nccl.buckets.stop_ranks(), group.size());
}

TEST(Nccl, GroupsWorkSideBySide) {
  if (world_size() < 4) GTEST_SKIP() << "needs two groups";
  NcclGroup group(2, 1000ms);
  group.start();
  const at::Tensor bucket = at::full({64}, group.rank() + 3.0f);
  if (group.number() == 0) {
    if (group.rank() == 0) group.communicator->start_sum(bucket);
    EXPECT_NE(group.wait_for_alarm().what.find(group.name(1) + " is behind"), std::string::npos);
  } else {
    for (int i = 0; i < 30; ++i) {
      std::this_thread::sleep_for(80ms);
      bucket.fill_(group.rank() + 3.0f);
      group.communicator->start_sum(bucket);
      group.communicator->wait();
      group.api.synchronize(group.compute);
      ASSERT_TRUE(at::equal(bucket, at::full({64}, 3.5f)));
    }
    EXPECT_TRUE(group.alarms.empty());
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

}  // namespace
}  // namespace diffq
