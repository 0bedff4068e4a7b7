// The recipe for ImageNet as a whole, on small synthetic photos: one rank and two give the same losses.

#include <stdlib.h>

#include <array>

#include "datasets/dataset.h"
#include "tests/support/idx_files.h"
#include "tests/support/jpeg_files.h"
#include "tests/support/thread_communicator.h"
#include "tests/sweeps/sweep_text.h"
#include "trainer/train_run.h"

namespace diffq {
namespace {

TEST(PhotoSweep, TheRecipeGivesTheSameLossesOnOneAndTwoRanks) {
  TemporaryFolder folder;
  setenv("XDG_CACHE_HOME", (folder.path() / "cache").c_str(), 1);
  write_jpeg_folders(folder.path(), {.classes = 3, .train = 10, .val = 2});
  const std::string text = shipped("imagenet_deit.json");
  const std::string data = "benchmarks.0.data.", train = "benchmarks.0.train.";
  const Sweep sweep = read_sweep(
      text, "s.json",
      {data + "root=\"" + folder.path().string() + "\"", data + "valid_samples=3", data + "augment.crop=32",
       data + "augment.resize=40", data + "workers=2", R"(benchmarks.0.model={"name": "deit_tiny"})",
       train + "epochs=1", train + "batch_size=12", train + "schedule.warmup_epochs=0", "seeds=[1]",
       R"(benchmarks.0.methods=[{"method": "diffq",)"
       R"( "lambda": 0.01, "min_bits": 3, "rank_noise": "shared"}])"},
      {fingerprint, {}});
  ASSERT_EQ(sweep.runs.size(), 1U);
  const RunSpec& spec = sweep.runs[0].spec;
  EXPECT_EQ(spec.data.photos.repeats, 3);
  EXPECT_EQ(spec.train.mix.mixup, 0.8);
  std::array<double, 2> losses{};
  for (const int ranks : {1, 2}) {
    const DataSplits splits = open_data(spec.data);
    run_as_ranks(ranks, [&](Communicator& communicator) {
      RunContext context;
      context.run_id = sweep.runs[0].run_id;
      const RunRecord record = train_run(spec, splits, communicator, context);
      if (communicator.rank() != 0) return;
      EXPECT_EQ(record.run.steps, 2);
      losses[ranks - 1] = record.epochs.at(0).train_loss;
    });
  }
  EXPECT_GT(losses[0], 0.5);
  EXPECT_NEAR(losses[0], losses[1], 1e-5);
  unsetenv("XDG_CACHE_HOME");
}

}  // namespace
}  // namespace diffq
