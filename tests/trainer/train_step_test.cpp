#include "trainer/train_step.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/support/fake_quantizer.h"
#include "tests/support/thread_communicator.h"
#include "tests/trainer/training_rig.h"

namespace diffq {
namespace {

constexpr int kSteps = 20;
constexpr BucketLimits kManyBuckets{256, 1024};

// Losses of the steps, from a group of `ranks`.
std::vector<double> losses(const RunSpec& spec, int ranks, RigParts parts = {}) {
  const DataSplits data = memory_splits();
  std::vector<double> result;
  run_as_ranks(ranks, [&](Communicator& communicator) {
    TrainingRig rig(spec, data, communicator, parts);
    for (int step = 0; step < kSteps; ++step) {
      const double loss = rig.step(step).loss;
      if (communicator.rank() == 0) result.push_back(loss);
    }
  });
  return result;
}

void expect_near(const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], tolerance) << "step " << i;
}

class EveryMethod : public testing::TestWithParam<Method> {};

std::string method_name(Method method) {
  for (const auto& [name, value] : kMethodNames) {
    if (value == method) return std::string(name);
  }
  return "?";
}

INSTANTIATE_TEST_SUITE_P(TrainStep, EveryMethod,
                         testing::Values(Method::fp32, Method::qat, Method::lsq, Method::diffq),
                         [](const auto& info) { return method_name(info.param); });

TEST_P(EveryMethod, AnyNumberOfRanksGivesTheSameLosses) {
  RunSpec spec = small_spec(GetParam());
  spec.method.rank_noise = RankNoise::shared;
  spec.train.max_grad_norm = 1;
  spec.train.optimizer.weight_decay = 1e-3;
  const auto one = losses(spec, 1);
  EXPECT_LT(one.back(), 0.8 * one.front()) << "something is learnt";
  expect_near(losses(spec, 2), one, 1e-5);
  expect_near(losses(spec, 4, {.limits = kManyBuckets}), one, 1e-5);
}

TEST_P(EveryMethod, AccumulatingGivesTheSameLosses) {
  RunSpec spec = small_spec(GetParam());
  const auto whole = losses(spec, 1);
  spec.train.accumulate_steps = 2;
  expect_near(losses(spec, 1), whole, 1e-5);
  spec.method.rank_noise = RankNoise::shared;
  const auto shared = losses(spec, 1);
  expect_near(losses(spec, 2, {.limits = kManyBuckets}), shared, 1e-5);
}

TEST_P(EveryMethod, RanksStayTheSameBitForBit) {
  RunSpec spec = small_spec(GetParam());
  spec.model.batchnorm = true;
  const DataSplits data = memory_splits();
  constexpr int kRanks = 3;
  spec.train.batch_size = 30;
  std::vector<std::vector<at::Tensor>> states(kRanks);
  run_as_ranks(kRanks, [&](Communicator& communicator) {
    TrainingRig rig(spec, data, communicator, {.limits = kManyBuckets});
    ASSERT_EQ(rig.store.buffers().size(), 4u);
    const auto start = rig.state();
    for (int step = 0; step < kSteps; ++step) {
      rig.step(step);
      states[communicator.rank()] = rig.state();
      communicator.agree("");
      if (communicator.rank() == 0) {
        for (int rank = 1; rank < kRanks; ++rank) {
          EXPECT_TRUE(same_bits(states[rank], states[0])) << "rank " << rank << ", step " << step;
        }
      }
      communicator.agree("");
    }
    EXPECT_FALSE(at::equal(rig.state()[0], start[0]));
    EXPECT_FALSE(at::equal(rig.state()[2], start[2])) << "running mean";
  });
}

TEST(TrainStep, EveryBatchIsCountedOnce) {
  RunSpec spec = small_spec(Method::fp32);
  spec.model.batchnorm = true;
  spec.train.accumulate_steps = 2;
  const DataSplits data = memory_splits();
  const auto alone = single_rank();
  TrainingRig rig(spec, data, *alone);
  for (int step = 0; step < 3; ++step) rig.step(step);
  ASSERT_EQ(rig.store.counters().size(), 2u);
  for (const auto& counter : rig.store.counters()) EXPECT_EQ(counter.tensor.item<int64_t>(), 6);
}

TEST(TrainStep, RanksDrawTheirOwnNoiseUnlessItIsShared) {
  const DataSplits data = memory_splits();
  for (const auto noise : {RankNoise::independent, RankNoise::shared}) {
    RunSpec spec = small_spec(Method::diffq);
    spec.method.rank_noise = noise;
    std::vector<std::vector<at::Tensor>> seen(2);
    run_as_ranks(2, [&](Communicator& communicator) {
      TrainingRig rig(spec, data, communicator);
      rig.step(0);
      for (const auto& parameter : rig.module().parameters()) {
        seen[communicator.rank()].push_back(parameter.detach().clone());
      }
    });
    EXPECT_EQ(same_bits(seen[0], seen[1]), noise == RankNoise::shared);
  }
}

TEST(TrainStep, SizeGradientIsAddedOnce) {
  const DataSplits data = memory_splits();
  RunSpec spec = small_spec(Method::diffq);
  spec.method.rank_noise = RankNoise::shared;
  // One step with and without lambda, on 1 and 3 ranks: gradients of the bits, as the optimiser gets them.
  const auto own_gradients = [&](double lambda, int ranks, int64_t micro_batches) {
    spec.train.batch_size = 24;
    spec.method.lambda = lambda;
    spec.train.accumulate_steps = micro_batches;
    std::vector<at::Tensor> result;
    run_as_ranks(ranks, [&](Communicator& communicator) {
      TrainingRig rig(spec, data, communicator);
      rig.step(0);
      if (communicator.rank() != 0) return;
      for (const auto& entry : rig.store.entries()) {
        if (entry.own_count > 0) result.push_back(rig.store.own_gradient_of(entry).clone());
      }
    });
    return at::cat(result);
  };
  // Closed form: 8 entries a group, size in MB, and the slope of bits = 2 + 13 sigmoid(logit) at 8 bits.
  const double slope = 6.0 * 7.0 / 13.0, expected = 100 * 8 * slope / (8 << 20);
  for (const int ranks : {1, 3}) {
    for (const int64_t micro_batches : {1, 4}) {
      const at::Tensor penalty =
          own_gradients(100, ranks, micro_batches) - own_gradients(0, ranks, micro_batches);
      EXPECT_NEAR(penalty.median().item<double>(), expected, 1e-3 * expected)
          << ranks << " " << micro_batches;
    }
  }
}

// --- what is not finite -----------------------------------------------------------------------------------

// Whether a step whose loss (or gradients) `alter` spoils on the last rank leaves everything as it was, on
// all ranks; and whether a good step afterwards changes it.
void expect_skipped(Method method, int ranks, const std::string& reason, const Alter& alter) {
  RunSpec spec = small_spec(method);
  spec.model.batchnorm = true;
  spec.train.max_grad_norm = 1;
  spec.train.batch_size = 24;
  const DataSplits data = memory_splits();
  run_as_ranks(ranks, [&](Communicator& communicator) {
    bool spoil = false;
    RigParts parts;
    parts.task = std::make_shared<AlteredTask>(
        make_small_task(spec), [&](const at::Tensor& loss, torch::nn::Module& module) {
          return spoil && communicator.rank() + 1 == communicator.size() ? alter(loss, module) : loss;
        });
    TrainingRig rig(spec, data, communicator, parts);
    rig.step(0);
    const auto before = rig.state();
    spoil = true;
    const StepResult skipped = rig.step(1);
    EXPECT_NE(skipped.skipped.find(reason), std::string::npos) << skipped.skipped;
    EXPECT_TRUE(std::isfinite(skipped.loss) || ranks == 1);
    EXPECT_TRUE(same_bits(rig.state(), before)) << reason << ", rank " << communicator.rank();
    EXPECT_EQ(rig.train_step.weights_optimizer().steps(), 1);
    spoil = false;
    EXPECT_EQ(rig.step(2).skipped, "");
    const auto after = rig.state();
    EXPECT_FALSE(at::equal(after[0], before[0]));
    for (const at::Tensor& tensor : after) EXPECT_TRUE(at::isfinite(tensor).all().item<bool>());
  });
}

Alter infinite_gradient(const std::string& name) {
  return change_gradient(name, [](const at::Tensor& gradient) {
    at::Tensor spoilt = gradient.clone();
    spoilt.view({-1})[0] = std::numeric_limits<float>::infinity();
    return spoilt;
  });
}

TEST_P(EveryMethod, SkipsAStepWhoseLossIsNotANumberOnOneRank) {
  for (const int ranks : {1, 3}) {
    expect_skipped(GetParam(), ranks, "loss",
                   [](const at::Tensor& loss, torch::nn::Module&) { return loss * NAN; });
    // Nothing but the number itself is spoilt.
    expect_skipped(GetParam(), ranks, "loss", [](const at::Tensor& loss, torch::nn::Module&) {
      return loss + std::numeric_limits<double>::infinity();
    });
  }
}

TEST_P(EveryMethod, SkipsAStepWithAnInfiniteGradient) {
  for (const int ranks : {1, 3}) {
    expect_skipped(GetParam(), ranks, "norm of the gradient", infinite_gradient("linear1.weight"));
    expect_skipped(GetParam(), ranks, "norm of the gradient", infinite_gradient("linear2.bias"));
  }
}

TEST(TrainStep, SkipsAStepWhenOnlyAnOwnGradientIsNotFinite) {
  class Spoiling : public FakeQuantizer {
   public:
    using FakeQuantizer::FakeQuantizer;
    void pull_back(std::span<const size_t> tensors) override {
      FakeQuantizer::pull_back(tensors);
      for (const size_t index : tensors) {
        if (spoil) quantized()[index].own_gradient.fill_(NAN);
      }
    }
    bool spoil = false;
  };
  const DataSplits data = memory_splits();
  const auto alone = single_rank();
  const auto quantizer = std::make_shared<Spoiling>(300);
  TrainingRig rig(small_spec(Method::diffq), data, *alone, {.quantizer = quantizer});
  rig.step(0);
  const auto before = rig.state();
  quantizer->spoil = true;
  EXPECT_NE(rig.step(1).skipped.find("bits or scales"), std::string::npos);
  EXPECT_TRUE(same_bits(rig.state(), before));
}

TEST(TrainStep, ClippingScalesTheWeightsAlone) {
  const DataSplits data = memory_splits();
  const auto alone = single_rank();
  RunSpec spec = small_spec(Method::diffq);
  spec.train.optimizer.momentum = 0;
  spec.train.optimizer.lr = 1;
  TrainingRig free(spec, data, *alone);
  spec.train.max_grad_norm = 0.01;
  TrainingRig clipped(spec, data, *alone);
  const at::Tensor start = free.store.master().clone();
  const double norm = free.step(0).gradient_norm;
  ASSERT_GT(norm, 0.1);
  EXPECT_DOUBLE_EQ(clipped.step(0).gradient_norm, norm) << "as it was before clipping";
  EXPECT_NEAR((free.store.master() - start).norm().item<double>(), norm, 1e-4 * norm);
  const at::Tensor moved = clipped.store.master() - start;
  EXPECT_NEAR(moved.norm().item<double>(), 0.01, 1e-5);
  EXPECT_TRUE(at::allclose(moved * (norm / 0.01), free.store.master() - start, 1e-3, 1e-5))
      << "same direction";
  EXPECT_TRUE(same_bits({clipped.store.own()}, {free.store.own()})) << "the bits know nothing of it";
}

TEST(TrainStep, BitsTrainWithAdamAtTheirOwnRate) {
  const DataSplits data = memory_splits();
  const auto alone = single_rank();
  RunSpec spec = small_spec(Method::diffq);
  spec.method.lambda = 1e4;  // the size dominates: every logit falls by the rate, whatever lr and decay
  spec.train.optimizer.lr = 0.01;
  spec.train.optimizer.weight_decay = 0.1;
  TrainingRig rig(spec, data, *alone);
  const at::Tensor start = rig.store.own().clone();
  for (int step = 0; step < 5; ++step) rig.step(step);
  for (const auto& entry : rig.store.entries()) {
    if (!entry.quantized) continue;
    const at::Tensor fall = start.narrow(0, entry.own_offset, entry.own_count) - rig.store.own_of(entry);
    EXPECT_TRUE(at::allclose(fall, at::full_like(fall, 5 * spec.method.bits_lr), 1e-2)) << entry.name;
  }
}

TEST(TrainStep, ScalesTrainAsTheWeightsDoButAreNotDecayed) {
  const DataSplits data = memory_splits();
  const auto alone = single_rank();
  RunSpec spec = small_spec(Method::lsq);
  spec.train.optimizer.weight_decay = 0.5;
  spec.train.optimizer.momentum = 0;
  for (const double scale_lr : {0.0, 0.3}) {
    if (scale_lr > 0) spec.method.scale_lr = scale_lr;
    TrainingRig rig(spec, data, *alone, {.quantizer = std::make_shared<FakeQuantizer>(300)});
    rig.step(0);
    const double rate = scale_lr > 0 ? scale_lr : spec.train.optimizer.lr;
    for (const auto& entry : rig.store.entries()) {
      if (!entry.quantized) continue;
      const at::Tensor expected = 1 - rate * rig.store.own_gradient_of(entry);
      EXPECT_TRUE(at::allclose(rig.store.own_of(entry), expected)) << entry.name;
    }
  }
}

TEST(TrainStep, PutsTheModelIntoTrainingMode) {
  const DataSplits data = memory_splits();
  const auto alone = single_rank();
  RunSpec spec = small_spec(Method::fp32);
  spec.model.batchnorm = true;
  TrainingRig rig(spec, data, *alone);
  rig.module().eval();  // as evaluation leaves it
  const at::Tensor mean = rig.store.buffers()[0].tensor.clone();
  rig.step(0);
  EXPECT_FALSE(at::equal(rig.store.buffers()[0].tensor, mean));
}

}  // namespace
}  // namespace diffq
