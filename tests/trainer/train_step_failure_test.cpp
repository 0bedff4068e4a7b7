// A step that fails on one rank takes all of them out of the run, with the same reason.

#include <gtest/gtest.h>

#include "tests/support/fake_quantizer.h"
#include "tests/support/thread_communicator.h"
#include "tests/trainer/training_rig.h"

namespace diffq {
namespace {

// Prepares a rig whose second step fails in the given phase.
void make_fail(const std::string& phase, FakeQuantizer& quantizer, Alter& alter) {
  const auto throwing = [](const at::Tensor&, torch::nn::Module&) -> at::Tensor {
    throw std::runtime_error("forward failed");
  };
  if (phase == "materialize" || phase == "add_size_gradient") quantizer.throw_in = phase;
  if (phase == "forward") alter = throwing;
  if (phase == "backward")
    alter = change_gradient("linear1.weight", [](const at::Tensor&) -> at::Tensor {
      throw std::runtime_error("backward failed");
    });
  if (phase == "pull_back of linear2.weight" || phase == "pull_back of conv1.weight")
    quantizer.throw_at = phase.substr(13);
}

std::string failure_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const RunFailure& failure) {
    return std::string("run: ") + failure.what();
  } catch (const std::exception& error) {
    return std::string("alone: ") + error.what();
  }
  return "";
}

class FailingRank : public testing::TestWithParam<std::tuple<std::string, int>> {};

// linear2 is first and conv1 last in the order of the sums: in a hook, and in finish().
INSTANTIATE_TEST_SUITE_P(TrainStep, FailingRank,
                         testing::Combine(testing::Values("materialize", "forward", "backward",
                                                          "pull_back of linear2.weight",
                                                          "pull_back of conv1.weight"),
                                          testing::Values(0, 1, 2)));

TEST_P(FailingRank, TakesAllRanksOutOfTheRunAndTheNextRunWorks) {
  const auto& [phase, failing] = GetParam();
  const DataSplits data = memory_splits();
  RunSpec spec = small_spec(Method::diffq);
  spec.train.batch_size = 24;
  std::vector<double> undisturbed;
  run_as_ranks(3, [&](Communicator& communicator) {
    TrainingRig rig(spec, data, communicator);
    for (int step = 0; step < 5; ++step) {
      const double loss = rig.step(step).loss;
      if (communicator.rank() == 0) undisturbed.push_back(loss);
    }
  });
  std::vector<std::string> failures(3);
  run_as_ranks(3, [&, phase = phase, failing = failing](Communicator& communicator) {
    {
      const auto quantizer = std::make_shared<FakeQuantizer>(/*threshold=*/100);
      Alter alter = [](const at::Tensor& loss, torch::nn::Module&) { return loss; };
      const auto task = std::make_shared<AlteredTask>(
          make_small_task(spec),
          [&](const at::Tensor& loss, torch::nn::Module& module) { return alter(loss, module); });
      TrainingRig rig(spec, data, communicator, {task, quantizer, {16, 16}});
      rig.step(0);
      if (communicator.rank() == failing) make_fail(phase, *quantizer, alter);
      failures[communicator.rank()] = failure_of([&] { rig.step(1); });
    }
    TrainingRig next(spec, data, communicator);
    for (int step = 0; step < 5; ++step) {
      EXPECT_EQ(next.step(step).loss, undisturbed[step]) << "as if nothing had been";
    }
  });
  EXPECT_EQ(failures[0], "run: " + phase + " failed");
  EXPECT_EQ(failures[1], failures[0]);
  EXPECT_EQ(failures[2], failures[0]);
}

TEST(TrainStep, WhenTwoRanksFailTheLowestGivesTheReason) {
  const DataSplits data = memory_splits();
  RunSpec spec = small_spec(Method::fp32);
  spec.train.batch_size = 24;
  run_as_ranks(3, [&](Communicator& communicator) {
    TrainingRig rig(spec, data, communicator);
    const std::string failure = failure_of([&] {
      rig.train_step.run(0, {.lr = 0.1, .lambda = 1}, [&]() -> Batch {
        if (communicator.rank() == 0) return data.train->batch(std::array<int64_t, 2>{1, 2}, {});
        throw std::runtime_error("rank " + std::to_string(communicator.rank()) + "\ncan't read");
      });
    });
    EXPECT_EQ(failure, "run: rank 1 can't read") << "in one line";
  });
}

TEST(TrainStep, AFailingUpdateIsThisRanksOwnUntilTheNextStep) {
  const DataSplits data = memory_splits();
  RunSpec spec = small_spec(Method::diffq);
  std::vector<std::string> failures(2);
  run_as_ranks(2, [&](Communicator& communicator) {
    const auto quantizer = std::make_shared<FakeQuantizer>(/*threshold=*/100);
    TrainingRig rig(spec, data, communicator, {.quantizer = quantizer});
    if (communicator.rank() == 1) quantizer->throw_in = "add_size_gradient";
    const std::string own = failure_of([&] { rig.step(0); });
    EXPECT_EQ(own, communicator.rank() == 1 ? "alone: add_size_gradient failed" : "");
    const std::string next = failure_of([&] {
      rig.train_step.run(1, {.lr = 0.1, .lambda = 1}, [&] {
        if (!own.empty()) throw std::runtime_error("told");
        return data.train->batch(std::array<int64_t, 2>{1, 2}, {});
      });
    });
    EXPECT_EQ(next, "run: told");
  });
}

}  // namespace
}  // namespace diffq
