#include "launcher/progress.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/launcher/sweeps.h"
#include "tests/support/idx_files.h"

namespace diffq {
namespace {

std::string title(Method method, int bits = 0, double lambda = 0, double target_mb = 0) {
  Run run;
  run.spec.seed = 3;
  run.spec.method.method = method;
  run.spec.method.bits = bits;
  run.spec.method.lambda = lambda;
  run.spec.method.target_mb = target_mb;
  return run_title(run);
}

TEST(RunTitle, SaysWhatTellsRunsApart) {
  EXPECT_EQ(title(Method::fp32), "mnist small_cnn fp32 seed 3");
  EXPECT_EQ(title(Method::qat, 2), "mnist small_cnn qat 2 bits seed 3");
  EXPECT_EQ(title(Method::diffq, 0, 0.5), "mnist small_cnn diffq λ 0.5 seed 3");
  EXPECT_EQ(title(Method::diffq, 0, 0, 0.05), "mnist small_cnn diffq ≤ 0.05 MB seed 3");
}

TEST(ProgressFile, SaysWhereTheRunsAre) {
  const TemporaryFolder folder;
  const Sweep sweep = sweep_of({-1, -1, -1});
  FolderState earlier{std::vector<RunState>(3), std::vector<RunRecord>(3), std::vector<RunHistory>(3)};
  SweepState state(sweep, earlier, every_run(sweep), folder.path(), {});
  {
    Progress progress(state, 2, /*quiet=*/true);
    for (const int group : {0, 1}) progress.started(group, state.next(group).value());
    progress.step(0, 0, {2, 10, 5, 100, 0.61});
    progress.step(1, 1, {1, 10, 1, 100, std::nan("")});
    progress.refresh();
    const ProgressFile file = read_progress(folder.path());
    EXPECT_LE(file.time, utc_now());
    EXPECT_TRUE(file.time.starts_with("20")) << file.time;
    ASSERT_EQ(file.running.size(), 2u);
    EXPECT_EQ(text_of(file.running.at("run0")), "epoch 2/10 step 5/100 loss 0.61");
    EXPECT_EQ(text_of(file.running.at("run1")), "epoch 1/10 step 1/100 loss nan");
    EXPECT_EQ(file.left.seconds, 0);
    EXPECT_EQ(file.left.unknown_runs, 3) << "one report a run tells no pace yet";
    progress.step(0, 0, {2, 10, 6, 100, 0.5});
    progress.refresh();
    EXPECT_EQ(read_progress(folder.path()).running.at("run0").step, 5) << "not at every step";
  }
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "progress.json"));
}

TEST(ProgressFile, WhateverLiesThere) {
  const TemporaryFolder folder;
  EXPECT_EQ(read_progress(folder.path()).time, "");
  const auto path = folder.path() / "progress.json";
  for (const std::string text :
       {"", "{", "[]", "3", "null", R"({"time": "2026"})",
        R"({"time": 5, "seconds_left": 1, "unknown_runs": 0, "running": {}})",
        R"({"time": "2026", "seconds_left": 1, "unknown_runs": 0, "running": {"run0": 1}})"}) {
    write_text(path, text);
    EXPECT_EQ(read_progress(folder.path()).time, "") << text;
  }
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  EXPECT_EQ(read_progress(folder.path()).time, "");
}

}  // namespace
}  // namespace diffq
