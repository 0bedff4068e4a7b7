#include "trainer/evaluate.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>

#include "tests/support/thread_communicator.h"
#include "tests/trainer/training_rig.h"

namespace diffq {
namespace {

// Counts how often each sample is read.
class CountedData : public MemoryData {
 public:
  explicit CountedData(int64_t samples) : MemoryData(samples, kSmallShape, 4), reads(samples) {}
  Batch batch(std::span<const int64_t> samples, const std::optional<AugmentKey>& augment) const override {
    EXPECT_FALSE(augment.has_value());
    for (const int64_t sample : samples) ++reads[sample];
    return MemoryData::batch(samples, augment);
  }
  mutable std::vector<std::atomic<int>> reads;
};

TEST(Evaluate, CountsEachSampleOnceOnAnyNumberOfRanks) {
  const RunSpec spec = [] {
    RunSpec with_batchnorm = small_spec(Method::fp32);
    with_batchnorm.model.batchnorm = true;
    return with_batchnorm;
  }();
  // The other route: all samples in one go.
  const auto task = make_small_task(spec);
  task->module().eval();
  const MemoryData data(53, kSmallShape, 4);
  torch::NoGradGuard no_grad;
  const MetricSums direct = task->evaluate(data.all());
  EXPECT_EQ(direct.count, 53);

  for (const int ranks : {1, 2, 3}) {
    for (const int64_t batch_size : {1, 7, 100}) {
      const CountedData counted(53);
      run_as_ranks(ranks, [&](Communicator& communicator) {
        const auto own_task = make_small_task(spec);
        own_task->module().train();
        const MetricSums sums = evaluate(*own_task, counted, {batch_size}, 2, communicator);
        EXPECT_EQ(sums.count, 53);
        EXPECT_EQ(sums.score, direct.score);
        EXPECT_NEAR(sums.loss, direct.loss, 1e-4);
        EXPECT_DOUBLE_EQ(own_task->metric(sums), 100 * direct.score / 53);
      });
      for (const auto& reads : counted.reads) EXPECT_EQ(reads, 1);
    }
  }
}

TEST(Evaluate, LossAndScoreAreWhatTheyAreCalled) {
  const RunSpec spec = small_spec(Method::fp32);
  const auto task = make_small_task(spec);
  {
    // Logits that are the biases: class 2 is always chosen.
    torch::NoGradGuard no_grad;
    for (auto& parameter : task->module().parameters()) parameter.zero_();
    task->module().named_parameters()["linear2.bias"][2] = 1;
  }
  const MetricSums sums = evaluate(*task, MemoryData(40, kSmallShape, 4), {16}, 1, *single_rank());
  EXPECT_EQ(sums.score, 10);
  EXPECT_DOUBLE_EQ(task->metric(sums), 25);
  const double log_sum = std::log(3 + std::exp(1.0));
  EXPECT_NEAR(sums.loss, 30 * log_sum + 10 * (log_sum - 1), 1e-4);
}

TEST(Evaluate, AnUnreadableSampleFailsOnAllRanks) {
  run_as_ranks(3, [](Communicator& communicator) {
    const auto task = make_small_task(small_spec(Method::fp32));
    EXPECT_EQ(failure_of([&] { evaluate(*task, DamagedData(50, 49), {}, 1, communicator); }),
              "sample 49 can't be read");
  });
}

}  // namespace
}  // namespace diffq
