// The sweep over CIFAR-10 as a whole, on small synthetic files of the same form: what `diffq plan` says of
// it, and a few of its kind trained.

#include <array>

#include "datasets/dataset.h"
#include "launcher/commands.h"
#include "tests/support/cifar_files.h"
#include "tests/support/thread_communicator.h"
#include "tests/sweeps/sweep_text.h"
#include "trainer/train_run.h"

namespace diffq {
namespace {

size_t count_of(const std::string& text, const std::string& word) {
  size_t count = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++count;
  return count;
}

TEST(CifarSweep, IsPlanned) {
  TemporaryFolder folder;
  write_cifar10(folder.path() / "cifar-10-batches-bin", {.records = 30});
  testing::internal::CaptureStdout();
  PlanOptions options;
  options.sweep_file = std::string(DIFFQ_SOURCE_DIR) + "/sweeps/cifar10_resnet18.json";
  options.overrides = {"benchmarks.0.data.root=\"" + folder.path().string() + "\"",
                       "benchmarks.0.data.valid_samples=20", "seeds=[1]"};
  const int status = plan_command(options, /*program=*/"");
  const std::string text = testing::internal::GetCapturedStdout();
  EXPECT_EQ(status, 0);
  EXPECT_EQ(count_of(text, "cifar10  resnet18"), 18u) << text;
  EXPECT_EQ(count_of(text, "  11173962    42.63"), 18u) << text;
  EXPECT_NE(text.find("18 runs, each trained by a group of 1 rank; 8 of them start from another run"),
            std::string::npos)
      << text;
}

// Ten classes of patterned pictures: chance is 10 %.
TEST(CifarSweep, IsTrained) {
  TemporaryFolder folder;
  write_cifar10(folder.path(), {.records = 64, .test = 80});
  const std::string text = R"({"sweep": "s", "benchmarks": [{
    "data": {"name": "cifar10", "root": ")" +
                           folder.path().string() +
                           R"(", "valid_samples": 64, "augment": {"shift": 2}},
    "model": {"name": "small_cnn"},
    "train": {"epochs": 6, "batch_size": 32, "optimizer": {"name": "adam", "lr": 3e-3}},
    "methods": [{"method": "fp32"}, {"method": "diffq", "lambda": 0.1, "group_size": 16, "bits_lr": 0.05}]}]})";
  const Sweep sweep = read_sweep(text, "s.json", {}, {fingerprint, {}});
  ASSERT_EQ(sweep.runs.size(), 2u);
  for (const auto& run : sweep.runs) {
    const DataSplits data = open_data(run.spec.data);
    EXPECT_EQ(data.train->size(), 256);
    RunContext context;
    context.run_id = run.run_id;
    const RunRecord record = train_run(run.spec, data, *single_rank(), context);
    EXPECT_EQ(record.run.steps, 48);
    EXPECT_GT(record.run.metric, 60) << run.origin;
    EXPECT_GT(record.run.metric_valid, 60) << run.origin;
  }
}

}  // namespace
}  // namespace diffq
