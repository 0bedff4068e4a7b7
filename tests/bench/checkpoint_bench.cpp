// What a checkpoint costs the training of ResNet-18 (CIFAR form, DiffQ, groups of 8, SGD with momentum): how
// long the step waits for the copy, and how much slower steps are while the thread writes. Steps with and
// without a write under way alternate, so that what else the machine does falls on both. Prints one JSON
// object.
//
//   checkpoint_bench FOLDER [--rounds 12] [--threads 2] [--batch 16]

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "trainer/training_state.h"

namespace {

using namespace diffq;

double seconds(const auto& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  int rounds = 12, threads = 2;
  int64_t samples = 16;
  for (int i = 2; i + 1 < argc; i += 2) {
    const int value = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--rounds") == 0) rounds = value;
    if (std::strcmp(argv[i], "--threads") == 0) threads = value;
    if (std::strcmp(argv[i], "--batch") == 0) samples = value;
  }
  at::set_num_threads(threads);
  RunSpec spec;
  spec.model.name = ModelName::resnet18;
  spec.method.method = Method::diffq;
  spec.method.lambda = 5;
  SoloCommunicator alone;
  const auto task = make_task(spec, ImageShape{3, 32, 32, 10});
  const auto quantizer = make_quantizer(spec.method, spec.quant);
  ParameterStore store(task->module(), *quantizer);
  quantizer->initialize_own();
  GradientBuckets buckets(store, *quantizer, alone);
  TrainStep step(spec, 0, *task, store, *quantizer, buckets, alone);
  const Batch batch{at::randn({samples, 3, 32, 32}), at::randint(10, {samples}, at::kLong)};
  const TrainingCheckpoints checkpoints(argv[1], "0123456789ab", store, step, state_tensors(store, step));
  CheckpointWriter writer(argv[1]);

  TrainingState state;
  const auto one_step = [&] {
    return seconds([&] { step.run(state.steps, {.lr = 0.01, .lambda = 0}, [&] { return batch; }); });
  };
  std::vector<double> waits, undisturbed, extra;
  for (int round = -1; round < rounds; ++round) {
    const double usual = (one_step() + one_step() + one_step()) / 3;
    const double wait = seconds([&] {
      torch::NoGradGuard no_grad;
      ++state.steps;
      writer.write([&](Snapshot& snapshot) { checkpoints.copy(state, snapshot); });
    });
    double slower = 0;
    while (writer.busy()) slower += one_step() - usual;
    if (round < 0) continue;  // the first touches fresh memory
    waits.push_back(wait);
    undisturbed.push_back(usual);
    extra.push_back(slower);
  }
  const std::string problem = writer.take_problem();
  if (!problem.empty()) std::fprintf(stderr, "%s\n", problem.c_str());
  const auto file = list_checkpoints(argv[1]).at(0).path;
  const nlohmann::json result{{"file_mb", static_cast<double>(std::filesystem::file_size(file)) / (1 << 20)},
                              {"step_ms", median(undisturbed) * 1e3},
                              {"copy_ms", median(waits) * 1e3},
                              {"slower_steps_ms", median(extra) * 1e3},
                              {"percent_at_one_a_minute", (median(waits) + median(extra)) / 60 * 100}};
  std::printf("%s\n", result.dump().c_str());
  remove_checkpoints(argv[1]);
}
