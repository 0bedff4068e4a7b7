#include "trainer/checkpoint.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "tests/support/idx_files.h"
#include "tests/support/test_device.h"
#include "tests/support/thread_communicator.h"
#include "tests/trainer/training_rig.h"
#include "trainer/train_run.h"

namespace diffq {
namespace {

namespace fs = std::filesystem;

// Three epochs of ten steps, with everything that has a state: running statistics, moments, bits.
RunSpec stateful_spec(Method method, OptimizerName optimizer) {
  RunSpec spec = small_spec(method);
  spec.model.batchnorm = true;
  spec.train.epochs = 3;
  spec.train.optimizer.name = optimizer;
  spec.train.optimizer.lr = optimizer == OptimizerName::sgd ? 0.05 : 0.002;
  spec.train.optimizer.weight_decay = 1e-3;
  spec.train.schedule.name = ScheduleName::cosine;
  spec.train.ema = 0.9;
  return spec;
}

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class CheckpointTest : public testing::Test {
 protected:
  struct Ended {
    nlohmann::json record;  ///< null when the run was stopped
    std::string model;
    std::vector<std::string> warnings;
    int64_t first_step = 0;  ///< where it went on
  };

  /// Trains until the end, or until one rank is told to stop before its step `stop_before` (from 0).
  Ended train(const RunSpec& spec, int ranks, int64_t stop_before = -1) {
    Ended ended;
    run_as_ranks(ranks, [&](Communicator& communicator) {
      RunContext context;
      context.run_id = "0123456789ab";
      context.model_file = folder_.path() / "model.safetensors";
      context.start_file = start_file();
      context.checkpoint_folder = checkpoints();
      context.kernels = kernels_;
      context.make_graph = test_step_graphs();
      int64_t step = 0;
      context.on_resume = [&](const Resumption& from) {
        step = (from.epoch - 1) * 10 + from.step;
        ended.first_step = step;
        EXPECT_EQ(static_cast<int64_t>(from.epochs.size()), from.epoch - 1);
      };
      context.on_warning = [&](const std::string& warning) { ended.warnings.push_back(warning); };
      const bool told = communicator.rank() == communicator.size() - 1;
      // Only rank 0 knows where it goes on; the other ranks count from there when they are alone told.
      int64_t asked = 0;
      context.signal = [&, told] {
        const int64_t now = communicator.size() == 1 ? step++ : asked++;
        return told && now == stop_before ? Signal::stop : Signal::none;
      };
      try {
        const RunRecord record = train_run(spec, memory_splits(), communicator, context);
        if (communicator.rank() != 0) return;
        ended.record = without_measures(record);
        ended.model = bytes_of(context.model_file);
      } catch (const RunStopped& stopped) {
        EXPECT_GE(stop_before, 0) << stopped.what();
      }
    });
    return ended;
  }

  void forget() { fs::remove_all(checkpoints()); }
  fs::path checkpoints() const { return folder_.path() / "run"; }
  std::vector<int64_t> kept_steps() const {
    std::vector<int64_t> steps;
    for (const CheckpointFile& file : list_checkpoints(checkpoints())) steps.push_back(file.step);
    return steps;
  }
  void SetUp() override {
    fs::create_directories(checkpoints());
    if (fs::exists(start_file())) return;
    RunSpec spec = small_spec(Method::fp32);
    spec.model.batchnorm = true;
    spec.train.epochs = 0;
    RunContext context;
    context.run_id = "1";
    context.model_file = start_file();
    train_run(spec, memory_splits(), *single_rank(), context);
  }
  // Ranks that are threads draw their initial weights from one generator; so all start from a file.
  fs::path start_file() const { return folder_.path() / "start.safetensors"; }
  void start_again() {
    forget();
    SetUp();
  }
  /// That two ranks stopped at some steps and started again end as if they had not been.
  void check_stops(const RunSpec& spec) {
    start_again();
    const Ended whole = train(spec, 2);
    for (const int64_t stop : {4, 9, 15, 16, 17, 29}) {
      start_again();
      train(spec, 2, stop);
      const Ended resumed = train(spec, 2);
      EXPECT_EQ(resumed.first_step, stop + 1);
      EXPECT_EQ(resumed.record, whole.record) << "stopped before step " << stop;
      EXPECT_TRUE(resumed.model == whole.model) << "stopped before step " << stop;
    }
  }

  TemporaryFolder folder_;
  const UpdateKernels* kernels_ = nullptr;  ///< of RunContext
};

TEST_F(CheckpointTest, ARunStoppedAnywhereEndsAsIfItNeverHadBeen) {
  struct Case {
    Method method;
    OptimizerName optimizer;
    int ranks;
  };
  for (const auto& [method, optimizer, ranks] : {Case{Method::fp32, OptimizerName::sgd, 1},
                                                 {Method::diffq, OptimizerName::sgd, 2},
                                                 {Method::lsq, OptimizerName::sgd, 1},
                                                 {Method::qat, OptimizerName::adamw, 2},
                                                 {Method::diffq, OptimizerName::adam, 1}}) {
    const RunSpec spec = stateful_spec(method, optimizer);
    start_again();
    const Ended whole = train(spec, ranks);
    ASSERT_FALSE(whole.record.is_null());
    for (const int64_t stop : {0, 7, 9, 10, 29}) {
      start_again();
      EXPECT_TRUE(train(spec, ranks, stop).record.is_null());
      EXPECT_EQ(kept_steps().front(), stop + 1);
      const Ended resumed = train(spec, ranks);
      EXPECT_EQ(resumed.first_step, stop + 1);
      EXPECT_TRUE(resumed.warnings.empty());
      EXPECT_EQ(resumed.record, whole.record) << "stopped before step " << stop;
      EXPECT_TRUE(resumed.model == whole.model) << "stopped before step " << stop;
    }
  }
}

/// As on a GPU: what a step came to is known a step later, so that it is left a step later too.
TEST_F(CheckpointTest, WithResultsThatComeLateToo) {
  for (const auto& [method, ranks] : {std::pair{Method::diffq, 1}, {Method::fp32, 2}}) {
    const RunSpec spec = stateful_spec(method, OptimizerName::adam);
    kernels_ = nullptr;
    start_again();
    const Ended cpu = train(spec, ranks);
    kernels_ = &test_update_kernels();
    start_again();
    const Ended whole = train(spec, ranks);
    EXPECT_EQ(whole.record, cpu.record);
    EXPECT_TRUE(whole.model == cpu.model);
    for (const int64_t stop : {0, 7, 8, 9, 10, 29}) {
      start_again();
      EXPECT_TRUE(train(spec, ranks, stop).record.is_null());
      const int64_t left = stop % 10 == 9 ? stop + 1 : stop + 2;  // an epoch's end waits for its last step
      EXPECT_EQ(kept_steps().front(), left);
      const Ended resumed = train(spec, ranks);
      EXPECT_EQ(resumed.first_step, left);
      EXPECT_EQ(resumed.record, whole.record) << "stopped before step " << stop;
      EXPECT_TRUE(resumed.model == whole.model) << "stopped before step " << stop;
    }
  }
}

TEST_F(CheckpointTest, WithStepsThatAreRecordedToo) {
  for (const auto& [method, ranks] : {std::pair{Method::diffq, 1}, {Method::lsq, 2}}) {
    RunSpec spec = stateful_spec(method, OptimizerName::adam);
    kernels_ = &test_update_kernels();
    start_again();
    const Ended plain = train(spec, ranks);
    spec.train.cuda_graph = true;
    for (const int64_t stop : {-1, 4, 12}) {
      start_again();
      if (stop >= 0) train(spec, ranks, stop);
      const Ended recorded = train(spec, ranks);
      EXPECT_EQ(recorded.record, plain.record) << "stopped before step " << stop;
      EXPECT_TRUE(recorded.model == plain.model) << "stopped before step " << stop;
    }
  }
}

TEST_F(CheckpointTest, OnTheWayToATarget) {
  RunSpec spec = stateful_spec(Method::diffq, OptimizerName::sgd);
  spec.method.target_mb = 0.014;
  check_stops(spec);
}

TEST_F(CheckpointTest, BeforeAndAfterTheBitsAreFrozen) {
  RunSpec spec = stateful_spec(Method::diffq, OptimizerName::sgd);
  apply_preset(Preset::strong, spec.method);
  spec.method.target_mb = 0.014;
  spec.method.frozen = 0.45;  // from step 17 of 30
  spec.eval.recalibrate_batchnorm = 2;
  check_stops(spec);
}

TEST_F(CheckpointTest, StoppedAtEveryFewSteps) {
  const RunSpec spec = stateful_spec(Method::diffq, OptimizerName::sgd);
  const Ended whole = train(spec, 1);
  start_again();
  Ended ended;
  int starts = 0;
  for (int64_t stop = 3; ended.record.is_null(); stop += 4, ++starts) ended = train(spec, 1, stop);
  EXPECT_EQ(starts, 8);
  EXPECT_EQ(ended.record, whole.record);
  EXPECT_TRUE(ended.model == whole.model);
}

TEST_F(CheckpointTest, WritingThemChangesNothing) {
  RunSpec spec = stateful_spec(Method::diffq, OptimizerName::sgd);
  spec.train.checkpoint_minutes = 1e-9;  // after every step, as the thread can
  const Ended often = train(spec, 1);
  EXPECT_EQ(kept_steps().size(), 2u) << "two are kept";
  forget();  // no folder: none is written, each attempt gives a warning
  const Ended none = train(spec, 1);
  EXPECT_EQ(none.record, often.record);
  EXPECT_TRUE(none.model == often.model);
  ASSERT_FALSE(none.warnings.empty());
  EXPECT_NE(none.warnings[0].find((checkpoints() / "").string()), std::string::npos) << none.warnings[0];
}

TEST_F(CheckpointTest, FallsBackToTheOneBeforeWithAWarning) {
  const RunSpec spec = stateful_spec(Method::diffq, OptimizerName::sgd);
  const Ended whole = train(spec, 1);
  start_again();
  train(spec, 1, 12);
  ASSERT_EQ(kept_steps(), (std::vector<int64_t>{13, 10}));
  const fs::path newest = list_checkpoints(checkpoints())[0].path;
  const std::string sound = bytes_of(newest);
  for (const size_t flipped : {size_t{3}, size_t{200}, sound.size() / 2, sound.size() - 1}) {
    std::string damaged = sound;
    damaged[flipped] = static_cast<char>(damaged[flipped] ^ 1);
    std::ofstream(newest, std::ios::binary) << damaged;
    const Ended resumed = train(spec, 1, 14);
    ASSERT_EQ(resumed.warnings.size(), 1u);
    EXPECT_EQ(resumed.warnings[0].find(newest.string() + ": "), 0u) << resumed.warnings[0];
    EXPECT_EQ(resumed.first_step, 10);
    start_again();
    train(spec, 1, 12);
  }
  for (const CheckpointFile& file : list_checkpoints(checkpoints())) fs::resize_file(file.path, 100);
  const Ended anew = train(spec, 1);
  EXPECT_EQ(anew.warnings.size(), 2u);
  EXPECT_EQ(anew.first_step, 0);
  EXPECT_EQ(anew.record, whole.record);
}

TEST_F(CheckpointTest, OtherThreadsAreToldOf) {
  const RunSpec spec = stateful_spec(Method::diffq, OptimizerName::sgd);
  const auto alone = single_rank();  // which has one thread
  const auto warnings_of_part = [&](int threads) {
    at::set_num_threads(threads);
    std::vector<std::string> warnings;
    RunContext context;
    context.run_id = "0123456789ab";
    context.start_file = start_file();
    context.checkpoint_folder = checkpoints();
    context.on_warning = [&](const std::string& warning) { warnings.push_back(warning); };
    context.signal = [] { return Signal::stop; };
    EXPECT_THROW(train_run(spec, memory_splits(), *alone, context), RunStopped);
    at::set_num_threads(1);
    return warnings;
  };
  EXPECT_TRUE(warnings_of_part(1).empty());
  EXPECT_TRUE(warnings_of_part(1).empty());
  const auto told = warnings_of_part(2);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_NE(told[0].find("checkpoint-2.safetensors: threads a rank were 1 when it was written and are 2 now"),
            std::string::npos)
      << told[0];
}

TEST_F(CheckpointTest, ThatOfAnotherRunIsNotUsed) {
  const RunSpec spec = stateful_spec(Method::diffq, OptimizerName::sgd);
  train(spec, 1, 12);
  RunSpec other = spec;
  other.train.optimizer.name = OptimizerName::adam;  // other tensors under the same id
  const Ended anew = train(other, 1, 0);
  ASSERT_EQ(anew.warnings.size(), 2u);
  EXPECT_NE(anew.warnings[0].find("does not hold the tensors of this run"), std::string::npos);
  EXPECT_EQ(anew.first_step, 0);
  EXPECT_EQ(kept_steps(), (std::vector<int64_t>{1}));
}

TEST_F(CheckpointTest, NamesThatAreNoneAreLeftAlone) {
  for (const char* name : {"checkpoint-.safetensors", "checkpoint-1x.safetensors",
                           "checkpoint-1.safetensors.tmp", "checkpoint--1.safetensors", "model.safetensors"})
    std::ofstream(checkpoints() / name) << "x";
  EXPECT_TRUE(list_checkpoints(checkpoints()).empty());
  std::ofstream(checkpoints() / "checkpoint-9.safetensors") << "x";
  std::ofstream(checkpoints() / "checkpoint-10.safetensors") << "x";
  EXPECT_EQ(kept_steps(), (std::vector<int64_t>{10, 9})) << "by number, not by text";
}

}  // namespace
}  // namespace diffq
