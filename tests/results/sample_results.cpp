#include "tests/results/sample_results.h"

#include <stdlib.h>

#include <stdexcept>

namespace diffq {

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "diffq-results-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

ResultFile sample_results() {
  ResultFile results;
  results.sweep = "demo λ";
  results.program_version = "0.1.0";
  results.git_commit = "abc123";

  RunRow done;
  done.run_id = "0123456789ab";
  done.benchmark = "image";
  done.dataset = "mnist";
  done.model = "small_cnn";
  done.method = "diffq";
  done.lambda = 0.1;
  done.group_size = 8;
  done.seed = INT64_MAX;
  done.ranks = 2;
  done.status = "done";
  done.metric_name = "accuracy";
  done.metric = 98.76543210987654;
  done.metric_valid = HUGE_VAL;
  done.metric_fp32 = -HUGE_VAL;
  done.size_mb = 0.1;
  done.size_fp32_mb = 1.6;
  done.ratio = 16;
  done.mean_bits = 2.5;
  done.packed_file_mb = 5e-324;
  done.compressed_file_mb = 0.125;
  done.epochs = 4;
  done.steps = INT64_MIN;
  done.skipped_steps = 3;
  done.train_seconds = 1.5;
  done.samples_per_second = 1e300;
  done.peak_memory_mb = -0.0;
  done.program_version = "0.1.0";
  done.git_commit = "abc123";
  done.config_json = "{\"note\": \"" + std::string(40000, 'x') + "\"}";

  RunRow failed;
  failed.run_id = "ba9876543210";
  failed.method = "lsq";
  failed.bits = 4;
  failed.status = "failed";
  failed.reason = "step 7: the loss is not finite — naïve Größe, 重み, 🙂";
  failed.higher_is_better = false;
  results.runs = {done, failed};

  EpochRow first;
  first.run_id = done.run_id;
  first.epoch = 1;
  first.train_loss = 0.5;
  first.lr = 0.1;
  EpochRow second = first;
  second.epoch = 2;
  second.eval_loss = 0.25;
  second.seconds = 3;
  results.epochs = {first, second};

  LayerRow layer;
  layer.run_id = done.run_id;
  layer.layer = "conv1.weight";
  layer.weights = 136;
  layer.mean_bits = 7.5;
  layer.min_bits = 0;
  layer.max_bits = 15;
  for (int width = 0; width < 16; ++width) layer.bits[width] = width + 1;
  results.layers = {layer};
  results.tracks = {{done.run_id, "A Song", "bass", 5.5, 9.25, kNotApplicable, -3.0, 5.75}};

  results.environment = {
      {"node1", 0, "cpu", "diffq 0.1.0", "2.11.0", "Open MPI 4.1.4", "", "1.10.8"},
      {"node2", 1, "cuda:0", "diffq 0.1.0", "2.11.0", "Open MPI 4.1.4", "2.21.5", "1.10.8"}};
  results.sweeps = {{"demo λ", "0.1.0", "abc123", "{\"sweep\": \"demo λ\",\n \"seeds\": [1]}"}};
  return results;
}

}  // namespace diffq
