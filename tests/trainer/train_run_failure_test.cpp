// Runs that can't go on: on all ranks alike, and with a reason.

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <filesystem>

#include "tests/support/test_device.h"
#include "tests/trainer/run_alone.h"
#include "trainer/checkpoint.h"

namespace diffq {
namespace {

TEST(TrainRun, FailsOnAllRanksWhereTheStartFileIsWrong) {
  run_as_ranks(2, [](Communicator& communicator) {
    RunContext context = context_named("1");
    context.start_file = "/nowhere/model.safetensors";
    const RunSpec spec = small_spec(Method::fp32);
    const std::string failure = failure_of([&] { train_run(spec, memory_splits(), communicator, context); });
    EXPECT_EQ(failure, "/nowhere/model.safetensors: can't be read: No such file or directory");
    EXPECT_EQ(train_run(spec, memory_splits(), communicator, context_named("2")).run.status, "done");
  });
}

// Losses become NaN from sample `poisoned` on.
class PoisonedData : public MemoryData {
 public:
  using MemoryData::MemoryData;
  Batch batch(std::span<const int64_t> samples, const std::optional<AugmentKey>& augment) const override {
    Batch batch = MemoryData::batch(samples, augment);
    if (++batches_ > 3) batch.input[0] = NAN;
    return batch;
  }

 private:
  mutable std::atomic<int> batches_ = 0;
};

class SkippedSteps : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(ResultsComeLate, SkippedSteps, testing::Bool());

TEST_P(SkippedSteps, EndTheRunWhenTooManyComeInARow) {
  RunContext context = context_named("1");
  if (GetParam()) context.kernels = &test_update_kernels();
  DataSplits data = memory_splits();
  data.train = std::make_shared<PoisonedData>(320, kSmallShape, 1);
  RunSpec spec = learning_spec(Method::diffq);
  spec.train.max_skipped_steps = 4;
  EXPECT_EQ(failure_of([&] { train_run(spec, data, *single_rank(), context); }),
            "step 7 (epoch 1): the loss is not finite, 4 steps in a row");

  // The count goes on over the end of an epoch, here of 10 steps.
  data.train = std::make_shared<PoisonedData>(320, kSmallShape, 1);
  spec.train.max_skipped_steps = 12;
  EXPECT_EQ(failure_of([&] { train_run(spec, data, *single_rank(), context); }),
            "step 15 (epoch 2): the loss is not finite, 12 steps in a row");

  // Two bad batches in a row, again and again, are skipped and counted.
  class Hiccups : public MemoryData {
   public:
    using MemoryData::MemoryData;
    Batch batch(std::span<const int64_t> samples, const std::optional<AugmentKey>& augment) const override {
      Batch batch = MemoryData::batch(samples, augment);
      if (batches_++ % 5 >= 3) batch.input[0] = NAN;
      return batch;
    }
    mutable std::atomic<int> batches_ = 0;
  };
  data.train = std::make_shared<Hiccups>(320, kSmallShape, 1);
  spec.train.max_skipped_steps = 3;
  const RunRecord record = train_run(spec, data, *single_rank(), context);
  EXPECT_EQ(record.run.skipped_steps, 4 * 4);
  EXPECT_EQ(record.run.steps, 40);
  EXPECT_TRUE(std::isfinite(record.epochs[3].train_loss));
}

TEST(TrainRun, AnUnreadableSampleOfOneRankEndsTheRunOnAll) {
  run_as_ranks(2, [](Communicator& communicator) {
    DataSplits data = memory_splits();
    if (communicator.rank() == 1) data.train = std::make_shared<DamagedData>(320, 17);
    RunSpec spec = small_spec(Method::qat);
    spec.train.epochs = 3;
    EXPECT_EQ(failure_of([&] { train_run(spec, data, communicator, context_named("1")); }),
              "sample 17 can't be read");
    data = memory_splits();
    if (communicator.rank() == 0) data.test = std::make_shared<DamagedData>(90, 0);
    spec.train.epochs = 1;
    EXPECT_EQ(failure_of([&] { train_run(spec, data, communicator, context_named("1")); }),
              "sample 0 can't be read");
  });
}

/// Lost after it was asked a few times.
class LostCommunicator : public SoloCommunicator {
 public:
  void check() override {
    if (++asked > 3) throw std::runtime_error("the group is lost");
  }
  int asked = 0;
};

// Sums that a lost group was waiting for end with anything.
TEST(TrainRun, ALostGroupLeavesTheCheckpointsFromBefore) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "lost_group";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  RunContext context = context_named("1");
  context.checkpoint_folder = folder;
  RunSpec spec = small_spec(Method::diffq);
  spec.train.epochs = 30;
  spec.train.checkpoint_minutes = 1e-9;
  LostCommunicator communicator;
  EXPECT_EQ(failure_of([&] { train_run(spec, memory_splits(), communicator, context); }),
            "the group is lost");
  EXPECT_EQ(communicator.asked, 4);
  const std::vector<CheckpointFile> kept = list_checkpoints(folder);
  ASSERT_EQ(kept.size(), 2u) << "of three";
  for (const CheckpointFile& file : kept) EXPECT_NO_THROW(read_checkpoint(file.path));
}

// Nor a run's failure: too many steps that are not finite may be made of sums that ended with anything.
TEST(TrainRun, ALostGroupsStepsAreNoReasonToFail) {
  DataSplits data = memory_splits();
  class NotFinite : public MemoryData {
   public:
    using MemoryData::MemoryData;
    Batch batch(std::span<const int64_t> samples, const std::optional<AugmentKey>& augment) const override {
      Batch batch = MemoryData::batch(samples, augment);
      batch.input.fill_(NAN);
      return batch;
    }
  };
  data.train = std::make_shared<NotFinite>(320, kSmallShape, 1);
  RunContext context = context_named("1");
  context.kernels = &test_update_kernels();
  RunSpec spec = small_spec(Method::fp32);
  spec.train.max_skipped_steps = 1;
  LostCommunicator lost;
  lost.asked = 3;
  EXPECT_EQ(failure_of([&] { train_run(spec, data, lost, context); }), "the group is lost");
  EXPECT_NE(
      failure_of([&] { train_run(spec, data, *single_rank(), context); }).find("the loss is not finite"),
      std::string::npos);
}

// Only rank 0 tells of progress and writes: when that fails, the others must not wait for it.
TEST(TrainRun, WhatFailsOnRank0AloneEndsTheRunOnAll) {
  const auto throwing = [](const auto&) { throw std::runtime_error("nobody listens"); };
  RunContext progress = context_named("1"), epoch = context_named("1"), file = context_named("1");
  progress.on_progress = throwing;
  epoch.on_epoch = throwing;
  file.model_file = "/nowhere/model.safetensors";
  run_as_ranks(2, [&](Communicator& communicator) {
    const RunSpec spec = small_spec(Method::fp32);
    const DataSplits data = memory_splits();
    EXPECT_EQ(failure_of([&] { train_run(spec, data, communicator, progress); }), "nobody listens");
    EXPECT_EQ(failure_of([&] { train_run(spec, data, communicator, epoch); }), "nobody listens");
    EXPECT_NE(failure_of([&] { train_run(spec, data, communicator, file); }).find("/nowhere/"),
              std::string::npos);
  });
}

}  // namespace
}  // namespace diffq
