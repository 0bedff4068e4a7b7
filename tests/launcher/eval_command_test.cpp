// `diffq eval` of a model by itself gives the number that its run has measured, on the same device. Built
// twice: here for the CPU, in tests/gpu for a GPU.

#include <gtest/gtest.h>

#include <string>

#include "datasets/dataset.h"
#include "launcher/group_runner.h"
#include "launcher/model_commands.h"
#include "tests/support/cifar_files.h"
#include "tests/support/idx_files.h"
#include "tests/support/test_device.h"
#include "tests/support/thread_communicator.h"
#include "trainer/train_run.h"

namespace diffq {
namespace {

std::string said_by_eval(const EvalOptions& options) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(eval_command(options), 0);
  return testing::internal::GetCapturedStdout();
}

TEST(EvalCommand, GivesTheNumberOfTheRun) {
  const TemporaryFolder folder;
  write_cifar10(folder.path(), {.records = 64, .test = 80});
  const std::string text = R"({"sweep": "s", "benchmarks": [{
    "data": {"name": "cifar10", "root": ")" +
                           folder.path().string() +
                           R"(", "valid_samples": 64}, "model": {"name": "resnet20"},
    "train": {"epochs": 2, "batch_size": 32, "optimizer": {"name": "adam", "lr": 3e-3}},
    "methods": [{"method": "fp32"}, {"method": "diffq", "lambda": 0.1, "group_size": 16, "bits_lr": 0.05}]}]})";
  const auto no_fingerprint = [](const auto&) { return std::string("0"); };
  const Sweep sweep = read_sweep(text, "s.json", {}, {no_fingerprint, no_fingerprint});
  for (const auto& run : sweep.runs) {
    RunContext context;
    context.run_id = run.run_id;
    context.device = test_device();
    context.model_file = folder.path() / "model.safetensors";
    context.config = model_config(run);
    const RunRecord record = train_run(run.spec, open_data(run.spec.data), *single_rank(), context);
    EvalOptions options;
    options.file = context.model_file;
    const std::string said = said_by_eval(options);
    EXPECT_TRUE(said.starts_with("model  resnet20 on " + test_device().str() + "\n")) << said;
    const size_t number = said.rfind(" = ");
    ASSERT_NE(number, std::string::npos) << said;
    EXPECT_NEAR(std::stod(said.substr(number + 3)), record.run.metric, 1e-6) << run.origin;
    options.device = DeviceChoice::cpu;
    EXPECT_TRUE(said_by_eval(options).starts_with("model  resnet20 on cpu\n"));
  }
}

}  // namespace
}  // namespace diffq
