#include "tests/results/sample_sweep.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>

namespace diffq {
namespace {

struct Benchmark {
  const char *name, *dataset, *model, *metric_name;
  bool higher_is_better;
  double fp32_metric, loss_scale, size_fp32_mb;
};

constexpr Benchmark kBenchmarks[] = {
    {"image", "cifar10", "resnet20", "accuracy %", true, 91, 4, 1.05},
    {"language", "kjv", "transformer", "perplexity", false, 125, -30, 12.5},
    {"audio", "mixtures", "demucs", "SDR dB", true, 5.5, 1.2, 40},
};

class Maker {
 public:
  explicit Maker(const SampleSweep& shape) : shape_(shape) {}

  ResultFile make() {
    file_.sweep = "three benchmarks";
    file_.program_version = "0.1.0";
    file_.git_commit = "0123456789ab";
    file_.environment = {{"node1", 0, "cpu", "0.1.0", "2.11.0", "Open MPI 4.1.4", "", "1.10.8"},
                         {"node1", 1, "cpu", "0.1.0", "2.11.0", "Open MPI 4.1.4", "", "1.10.8"}};
    file_.sweeps = {
        {file_.sweep, "0.1.0", "0123456789ab", "{\n  \"sweep\": \"three </script> benchmarks\"\n}"}};
    for (const Benchmark& benchmark : kBenchmarks) {
      const int64_t seeds = benchmark.name == std::string("audio") ? 1 : shape_.seeds;
      for (int64_t seed = 1; seed <= seeds; ++seed) add_benchmark(benchmark, seed);
    }
    return std::move(file_);
  }

 private:
  void add_benchmark(const Benchmark& benchmark, int64_t seed) {
    fp32_ = benchmark.fp32_metric * (1 + 0.004 * normal_(random_));
    add(benchmark, seed, "fp32", kNotApplicable, kNotApplicable, 32, 0);
    for (size_t bits = 2; bits < 2 + shape_.bits; ++bits) {
      const auto b = static_cast<double>(bits);
      add(benchmark, seed, "ptq", kNotApplicable, b, b, 8);
      add(benchmark, seed, "qat", kNotApplicable, b, b, 1.5);
      add(benchmark, seed, "lsq", kNotApplicable, b, b, 1);
    }
    for (size_t family = 0; family < shape_.families; ++family) {
      for (size_t i = 0; i < shape_.lambdas; ++i) {
        const double part = static_cast<double>(i) / static_cast<double>(shape_.lambdas - 1);
        add(benchmark, seed, "diffq", std::pow(10.0, 5 * part - 3), kNotApplicable, 8 - 5.5 * part, 0.8,
            family);
      }
    }
  }

  void add(const Benchmark& benchmark, int64_t seed, const std::string& method, double lambda, double bits,
           double mean_bits, double loss, size_t family = 0) {
    RunRow run;
    char id[16];
    std::snprintf(id, sizeof(id), "%012zx", file_.runs.size() + 0xabc000);
    run.run_id = id;
    run.benchmark = benchmark.name;
    run.dataset = benchmark.dataset;
    run.model = benchmark.model;
    run.method = method;
    run.lambda = lambda;
    run.bits = bits;
    run.group_size = method == "diffq" ? 8 : kNotApplicable;
    run.seed = seed;
    run.metric_name = benchmark.metric_name;
    run.higher_is_better = benchmark.higher_is_better;
    run.config_json = R"({"data":{"name":")" + run.dataset + R"("},"method":{"bits_lr":)" +
                      std::to_string(family + 1) + R"(,"method":")" + method + R"("},"seed":)" +
                      std::to_string(seed) + R"(,"train":{"batch_size":128,"optimizer":{"lr":0.1}}})";
    run.epochs = shape_.epochs;
    run.metric_fp32 = fp32_;
    run.size_fp32_mb = benchmark.size_fp32_mb;
    run.program_version = "0.1.0";
    run.git_commit = "0123456789ab";
    if (method == "qat" && bits == 2 && seed == 2) {
      run.status = "failed";
      run.reason = "step 7: the loss is not finite <b>\"here\"</b>";
    } else if (method != "lsq" || bits != 3 || seed != 3) {
      finish(run, benchmark, mean_bits, loss);
    }
    add_epochs(run, mean_bits);
    file_.runs.push_back(run);
  }

  void finish(RunRow& run, const Benchmark& benchmark, double mean_bits, double loss) {
    run.status = "done";
    const double noise = 1 + 0.02 * normal_(random_);
    run.mean_bits = run.method == "fp32"    ? kNotApplicable
                    : run.method == "diffq" ? mean_bits * noise
                                            : mean_bits;
    run.size_mb = run.method == "fp32" ? run.size_fp32_mb : run.size_fp32_mb * run.mean_bits / 32;
    run.ratio = run.size_fp32_mb / run.size_mb;
    run.metric = run.method == "fp32"
                     ? run.metric_fp32
                     : run.metric_fp32 -
                           benchmark.loss_scale * (loss * std::exp2(-mean_bits) + 0.05 * normal_(random_));
    if (run.method == "ptq" && run.bits == 2 && !run.higher_is_better && run.seed == 1) run.metric = HUGE_VAL;
    run.train_seconds = 100 + (run.method == "diffq" ? 10 : 0) + 3 * normal_(random_);
    run.samples_per_second = 50000 / run.train_seconds;
    run.peak_memory_mb = 600 + (run.method == "diffq" ? 40 : 0);
    for (size_t i = 0; i < shape_.layers && run.method != "fp32"; ++i) add_layer(run, shape_.layers - i);
  }

  void add_layer(const RunRow& run, size_t depth) {
    LayerRow layer;
    layer.run_id = run.run_id;
    layer.layer = "block" + std::to_string(depth) + ".conv.weight";
    layer.weights = 1000;
    const double shift = run.method == "diffq" ? 0.3 * (static_cast<double>(depth % 5) - 2) : 0;
    const int low = std::clamp(static_cast<int>(run.mean_bits + shift), 2, 14);
    layer.bits[low] = 600;
    layer.bits[low + 1] = 400;
    layer.min_bits = low;
    layer.max_bits = low + 1;
    layer.mean_bits = low + 0.4;
    file_.layers.push_back(layer);
  }

  void add_epochs(const RunRow& run, double mean_bits) {
    const int64_t last = run.status == "done" ? shape_.epochs : shape_.epochs / 2;
    for (int64_t i = 1; i <= last; ++i) {
      EpochRow epoch;
      epoch.run_id = run.run_id;
      epoch.epoch = i;
      const double left = std::exp(-4.0 * static_cast<double>(i) / static_cast<double>(shape_.epochs));
      epoch.train_loss = 0.2 + 2 * left + 0.02 * normal_(random_);
      epoch.eval_loss = 0.3 + 2 * left + 0.02 * normal_(random_);
      epoch.metric = run.metric_fp32 * (run.higher_is_better ? 1 - left : 1 + left);
      epoch.mean_bits = mean_bits + (run.method == "diffq" ? (8 - mean_bits) * left : 0);
      epoch.size_mb = run.size_fp32_mb * epoch.mean_bits / 32;
      epoch.expected_size_mb = epoch.size_mb;
      epoch.lr = 0.1 * left;
      epoch.seconds = 1;
      file_.epochs.push_back(epoch);
    }
  }

  const SampleSweep& shape_;
  ResultFile file_;
  double fp32_ = 0;
  std::mt19937 random_{7};
  std::normal_distribution<double> normal_;
};

}  // namespace

ResultFile sample_sweep(const SampleSweep& shape) { return Maker(shape).make(); }

}  // namespace diffq
