#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/mpi/groups.h"
#include "tests/trainer/training_rig.h"

namespace diffq {
namespace {

constexpr int kSteps = 20;
constexpr BucketLimits kManyBuckets{256, 1024};

// The number of an unsigned sum of all bytes, position included: equal on all ranks if and (all but) only if
// the state is.
double digest(const std::vector<at::Tensor>& tensors) {
  uint64_t hash = 14695981039346656037ull;
  for (const at::Tensor& tensor : tensors) {
    const at::Tensor whole = tensor.contiguous();
    const auto* bytes = static_cast<const unsigned char*>(whole.const_data_ptr());
    for (size_t i = 0; i < whole.nbytes(); ++i) hash = (hash ^ bytes[i]) * 1099511628211ull;
  }
  return static_cast<double>(hash >> 12);  // 52 bits: exact in a double
}

// Whether a number is the same on all ranks of the group: one rank's times the ranks is the sum.
std::vector<double> everyones(MpiCommunicator& communicator, double mine) {
  std::vector<double> values(static_cast<size_t>(communicator.size()), 0.0);
  values[static_cast<size_t>(communicator.rank())] = mine;
  communicator.sum(values);
  return values;
}

class EveryMethod : public testing::TestWithParam<Method> {};

INSTANTIATE_TEST_SUITE_P(TrainStep, EveryMethod, testing::Values(Method::fp32, Method::qat, Method::diffq));

TEST_P(EveryMethod, AnyNumberOfRanksGivesTheSameLosses) {
  RunSpec spec = small_spec(GetParam());
  spec.method.rank_noise = RankNoise::shared;
  spec.train.max_grad_norm = 1;
  const DataSplits data = memory_splits();
  std::vector<double> first;
  for (const int size : group_sizes()) {
    Group group(size);
    TrainingRig rig(spec, data, *group, {.limits = kManyBuckets});
    std::vector<double> losses;
    for (int step = 0; step < kSteps; ++step) losses.push_back(rig.step(step).loss);
    if (first.empty()) first = losses;
    for (int step = 0; step < kSteps; ++step) {
      EXPECT_NEAR(losses[step], first[step], 1e-5) << size << " ranks, step " << step;
    }
  }
  EXPECT_LT(first.back(), 0.8 * first.front()) << "something is learnt";
}

TEST_P(EveryMethod, RanksStayTheSameBitForBit) {
  RunSpec spec = small_spec(GetParam());
  spec.model.batchnorm = true;
  spec.method.rank_noise = RankNoise::independent;
  const DataSplits data = memory_splits();
  for (const int size : group_sizes()) {
    Group group(size);
    TrainingRig rig(spec, data, *group, {.limits = kManyBuckets});
    ASSERT_EQ(rig.store.buffers().size(), 4u);
    double previous = digest(rig.state());
    for (int step = 0; step < kSteps; ++step) {
      rig.step(step);
      const double mine = digest(rig.state());
      EXPECT_NE(mine, previous) << "something has changed";
      for (const double other : everyones(*group, mine)) {
        ASSERT_EQ(other, mine) << size << " ranks, step " << step;
      }
      previous = mine;
    }
  }
}

TEST(TrainStep, RanksDrawTheirOwnNoiseUnlessItIsShared) {
  const DataSplits data = memory_splits();
  for (const auto noise : {RankNoise::independent, RankNoise::shared}) {
    RunSpec spec = small_spec(Method::diffq);
    spec.method.rank_noise = noise;
    Group group(2);
    TrainingRig rig(spec, data, *group);
    rig.step(0);
    std::vector<at::Tensor> seen;
    for (const auto& parameter : rig.module().parameters()) seen.push_back(parameter.detach());
    const auto digests = everyones(*group, digest(seen));
    EXPECT_EQ(digests[0] == digests[1], noise == RankNoise::shared);
  }
}

// Throws on the last rank: before backward, or in the middle of it, when some sums have started and others
// have not.
class FailingRank : public testing::TestWithParam<bool> {};

INSTANTIATE_TEST_SUITE_P(TrainStep, FailingRank, testing::Bool(),
                         [](const auto& info) { return info.param ? "InBackward" : "InForward"; });

TEST_P(FailingRank, TakesItsGroupOutAndTheNextRunWorks) {
  const bool in_backward = GetParam();
  const DataSplits data = memory_splits();
  const RunSpec spec = small_spec(Method::diffq);
  Group group(world_size());
  const int last = world_size() - 1;
  const auto fail_on_last = [&](const at::Tensor& loss, torch::nn::Module& module) -> at::Tensor {
    if (group->rank() != last) return loss;
    if (!in_backward) throw std::runtime_error("sample 17 can't be read");
    const auto fail = [](const at::Tensor&) -> at::Tensor {
      throw std::runtime_error("sample 17 can't be read");
    };
    module.parameters()[2].register_hook(fail);
    return loss;
  };
  for (int round = 0; round < 3; ++round) {
    {
      TrainingRig rig(spec, data, *group,
                      {.task = std::make_shared<AlteredTask>(make_small_task(spec), fail_on_last),
                       .limits = kManyBuckets});
      ASSERT_GT(rig.store.buckets().size(), 3u);
      std::string reason;
      try {
        rig.step(0);
      } catch (const RunFailure& failure) {
        reason = failure.what();
      }
      EXPECT_EQ(reason, "[rank " + std::to_string(last) + "/" + std::to_string(world_size()) +
                            " host0] sample 17 can't be read");
    }
    TrainingRig rig(spec, data, *group, {.limits = kManyBuckets});
    EXPECT_TRUE(std::isfinite(rig.step(0).loss));
  }
}

}  // namespace
}  // namespace diffq
