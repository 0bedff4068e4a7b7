// Axes, order, what starts from what, and that the resolved sweep reads back to the same runs.

#include "sweeps/spec_keys.h"
#include "tests/sweeps/sweep_text.h"

namespace diffq {
namespace {

std::vector<std::string> ids(const Sweep& sweep) {
  std::vector<std::string> out;
  for (const auto& run : sweep.runs) out.push_back(run.run_id);
  return out;
}

// Every kind of key at least once, with values other than the defaults.
const char* const kEverything = R"({
  "sweep": "all", "seeds": [3, 4], "ranks_per_run": 2,
  "benchmarks": [
    {"data": {"name": "idx", "root": "x", "train_samples": 1000, "valid_samples": 100, "test_samples": 50,
              "augment": {"shift": 1, "crop": 24, "flip": true}, "workers": 3},
     "model": {"name": "small_cnn", "batchnorm": false},
     "train": {"epochs": 4, "batch_size": 64, "accumulate_steps": 2,
               "optimizer": {"name": "sgd", "lr": 1, "momentum": 0.5, "nesterov": true, "weight_decay": 5e-4},
               "schedule": {"name": "step", "every_epochs": 2, "factor": 0.1, "warmup_epochs": 1},
               "max_grad_norm": 5, "max_skipped_steps": 3, "precision": "fp32"},
     "eval": {"batch_size": 32},
     "quant": {"min_size_mb": 0.5, "exclude": ["a.*", "b"], "float16": true},
     "methods": [
       {"method": "diffq", "lambda": [1, 0], "group_size": 0, "noise": "uniform", "parametrisation": "noise",
        "min_bits": 3, "init_bits": 7.5, "max_bits": 12, "bits_lr": 0.01, "rank_noise": "shared", "start": "fp32"},
       {"method": "qat", "bits": 3, "train": {"optimizer": {"name": "adam", "lr": [0.1, 0.01], "beta1": 0.8}, "epochs": [2, 3]}},
       {"method": "fp32"},
       {"method": "lsq", "bits": [2, 4], "start": "fp32", "scale_lr": 0.5, "train": {"optimizer": {"lr": 0.01}}},
       {"method": "ptq", "clip": ["mse", "minmax"], "bits": 4}
     ]},
    {"data": {"name": "mnist", "root": "y"}, "model": {"name": "resnet20"}, "seeds": [9],
     "methods": [{"method": "lsq", "bits": 5, "scale_lr": null}]}
  ]})";

TEST(Runs, EveryKeyArrives) {
  const Sweep sweep = read_text(kEverything);
  EXPECT_EQ(sweep.ranks_per_run, 2);
  // In a seed: fp32; diffq 2, lsq 2, ptq 2, which start from it; qat 4.
  ASSERT_EQ(sweep.runs.size(), 2u * 11 + 1);
  const RunSpec& spec = sweep.runs[1].spec;
  EXPECT_EQ(spec.data.name, DataName::idx);
  EXPECT_EQ(spec.data.root, "x");
  EXPECT_EQ(spec.data.train_samples, 1000);
  EXPECT_EQ(spec.data.valid_samples, 100);
  EXPECT_EQ(spec.data.test_samples, 50);
  EXPECT_EQ(spec.data.augment.shift, 1);
  EXPECT_EQ(spec.data.augment.crop, 24);
  EXPECT_TRUE(spec.data.augment.flip);
  EXPECT_EQ(spec.data.workers, 3);
  EXPECT_FALSE(spec.model.batchnorm);
  EXPECT_EQ(spec.train.epochs, 4);
  EXPECT_EQ(spec.train.batch_size, 64);
  EXPECT_EQ(spec.train.accumulate_steps, 2);
  EXPECT_EQ(spec.train.optimizer.lr, 1);
  EXPECT_EQ(spec.train.optimizer.momentum, 0.5);
  EXPECT_TRUE(spec.train.optimizer.nesterov);
  EXPECT_EQ(spec.train.optimizer.weight_decay, 5e-4);
  EXPECT_EQ(spec.train.schedule.name, ScheduleName::step);
  EXPECT_EQ(spec.train.schedule.every_epochs, 2);
  EXPECT_EQ(spec.train.schedule.factor, 0.1);
  EXPECT_EQ(spec.train.schedule.warmup_epochs, 1);
  EXPECT_EQ(spec.train.max_grad_norm, 5);
  EXPECT_EQ(spec.train.max_skipped_steps, 3);
  EXPECT_EQ(spec.eval.batch_size, 32);
  EXPECT_EQ(spec.quant.min_size_mb, 0.5);
  EXPECT_EQ(spec.quant.exclude, (std::vector<std::string>{"a.*", "b"}));
  EXPECT_TRUE(spec.quant.float16);
  EXPECT_EQ(spec.method.method, Method::diffq);
  EXPECT_EQ(spec.method.lambda, 1);
  EXPECT_EQ(sweep.runs[2].spec.method.lambda, 0);
  EXPECT_EQ(spec.method.group_size, 0);
  EXPECT_EQ(spec.method.noise, NoiseKind::uniform);
  EXPECT_EQ(spec.method.parametrisation, Parametrisation::noise);
  EXPECT_EQ(spec.method.min_bits, 3);
  EXPECT_EQ(spec.method.init_bits, 7.5);
  EXPECT_EQ(spec.method.max_bits, 12);
  EXPECT_EQ(spec.method.bits_lr, 0.01);
  EXPECT_EQ(spec.method.rank_noise, RankNoise::shared);
  EXPECT_EQ(spec.method.start, "fp32");
  EXPECT_EQ(spec.seed, 3u);
  EXPECT_EQ(sweep.runs[3].spec.method.scale_lr, 0.5);
  EXPECT_EQ(sweep.runs[5].spec.method.clip, Clip::mse);
  EXPECT_EQ(sweep.runs[6].spec.method.clip, Clip::minmax);
  EXPECT_EQ(sweep.runs[22].spec.method.scale_lr, std::nullopt);
  EXPECT_EQ(sweep.runs[22].spec.model.name, ModelName::resnet20);
  EXPECT_EQ(sweep.runs[22].spec.seed, 9u);
}

TEST(Runs, ComeAfterWhatTheyStartFrom) {
  const Sweep sweep = read_text(kEverything);
  using enum Method;
  const std::vector<Method> order{fp32, Method::diffq, Method::diffq, lsq, lsq, ptq, ptq, qat, qat, qat, qat};
  for (size_t seed = 0; seed < 2; ++seed)
    for (size_t i = 0; i < 11; ++i) {
      const auto& run = sweep.runs[seed * 11 + i];
      EXPECT_EQ(run.spec.method.method, order[i]);
      EXPECT_EQ(run.spec.seed, 3 + seed);
      EXPECT_EQ(run.depends_on, i >= 1 && i <= 6 ? int(seed * 11) : -1);
      if (run.depends_on >= 0)
        EXPECT_EQ(run.config["start"], sweep.runs[size_t(run.depends_on)].run_id);
      else
        EXPECT_FALSE(run.config.contains("start"));
    }
  EXPECT_EQ(sweep.runs[0].origin, "benchmarks[0].methods[2]");
  EXPECT_EQ(sweep.runs[21].origin, "benchmarks[0].methods[1]");
  EXPECT_EQ(sweep.runs[22].origin, "benchmarks[1].methods[0]");
}

TEST(Runs, StartFromAFileWhoseContentCounts) {
  const auto start_from = [](const std::string& path, const std::string& content) {
    return read_sweep(with_methods(R"({"method": "qat", "bits": 4, "start": ")" + path + "\"}"), "s.json", {},
                      {[](const DataSpec&) { return "data"; },
                       [&](const std::string& asked) {
                         EXPECT_EQ(asked, path);
                         return content;
                       }});
  };
  const Sweep sweep = start_from("a/w.safetensors", "1234");
  ASSERT_EQ(sweep.runs.size(), 1u);
  const auto& run = sweep.runs[0];
  EXPECT_TRUE(starts_from_file(run.spec));
  EXPECT_EQ(run.spec.method.start, "a/w.safetensors");
  EXPECT_EQ(run.depends_on, -1);
  EXPECT_EQ(run.config["start"], "1234");
  EXPECT_EQ(run.config["method"]["start"], "file");
  EXPECT_EQ(sweep.resolved["benchmarks"][0]["methods"][0]["start"], "a/w.safetensors");
  EXPECT_EQ(start_from("b/v.safetensors", "1234").runs[0].run_id, run.run_id);
  EXPECT_NE(start_from("a/w.safetensors", "5678").runs[0].run_id, run.run_id);
}

TEST(ModelConfig, ReadsBackToTheRun) {
  const Sweep sweep = read_text(kEverything);
  for (const auto& run : sweep.runs) {
    nlohmann::json config = run.config;
    config["data"]["root"] = run.spec.data.root;
    config["run_id"] = run.run_id;
    const RunSpec spec = read_model_config(config.dump(), "m.safetensors");
    EXPECT_EQ(write_spec(spec.model), config["model"]);
    EXPECT_EQ(write_spec(spec.quant), config["quant"]);
    EXPECT_EQ(write_spec(spec.method), config["method"]);
    EXPECT_EQ(write_spec(spec.eval), config["eval"]);
    if (config.contains("train")) {
      nlohmann::json train = write_spec(spec.train);
      train.erase("checkpoint_minutes");
      EXPECT_EQ(train, config["train"]);
    }
    nlohmann::json data = write_spec(spec.data);
    data.erase("workers");
    EXPECT_EQ(data, config["data"]);
    EXPECT_EQ(spec.seed, run.spec.seed);
  }
  for (const std::string wrong : {"", "[]", "{}", R"({"data": 3})", R"({"speed": 3})"})
    EXPECT_THROW(read_model_config(wrong, "m.safetensors"), std::invalid_argument) << wrong;
}

TEST(Runs, PtqTrainsNothing) {
  const Sweep sweep = read_text(with_methods(R"({"method": "fp32"}, {"method": "ptq", "bits": 4})"));
  EXPECT_EQ(sweep.runs[1].spec.train.epochs, 0);
  EXPECT_EQ(sweep.runs[1].spec.method.start, "fp32");
  EXPECT_FALSE(sweep.runs[1].config.contains("train"));
}

TEST(Axes, TheFirstKeyVariesSlowest) {
  const Sweep sweep = read_text(with_methods(
      R"({"method": "diffq", "group_size": [8, 4], "train": {"optimizer": {"lr": [2, 1]}}, "lambda": [0.5, 3]})"));
  std::vector<std::vector<double>> seen;
  for (const auto& run : sweep.runs)
    seen.push_back({double(run.spec.method.group_size), run.spec.train.optimizer.lr, run.spec.method.lambda});
  EXPECT_EQ(
      seen,
      (std::vector<std::vector<double>>{
          {8, 2, 0.5}, {8, 2, 3}, {8, 1, 0.5}, {8, 1, 3}, {4, 2, 0.5}, {4, 2, 3}, {4, 1, 0.5}, {4, 1, 3}}));
}

TEST(Axes, MayBeOfObjectsAndWords) {
  const Sweep sweep = read_text(with_methods(
      R"({"method": ["fp32"], "train": {"schedule": [{"name": "cosine"}, {"name": "step", "factor": [0.5, 0.1]}]}})"));
  ASSERT_EQ(sweep.runs.size(), 3u);
  EXPECT_EQ(sweep.runs[0].spec.train.schedule.name, ScheduleName::cosine);
  EXPECT_EQ(sweep.runs[1].spec.train.schedule.factor, 0.5);
  EXPECT_EQ(sweep.runs[2].spec.train.schedule.factor, 0.1);
}

TEST(Train, OfAMethodIsLaidOverTheBenchmarks) {
  const Sweep sweep = read_text(with_methods(
      R"({"method": "fp32"}, {"method": "qat", "bits": 2, "train": {"optimizer": {"lr": 0.5}}},
         {"method": "qat", "bits": 3, "train": {"optimizer": {"name": "adam"}}})",
      R"(, "train": {"epochs": 5, "optimizer": {"lr": 0.3, "momentum": 0.7, "weight_decay": 0.1}})"));
  const OptimizerSpec& changed = sweep.runs[1].spec.train.optimizer;
  EXPECT_EQ(changed.lr, 0.5);
  EXPECT_EQ(changed.momentum, 0.7);
  EXPECT_EQ(changed.weight_decay, 0.1);
  EXPECT_EQ(sweep.runs[1].spec.train.epochs, 5);
  // Another optimiser starts from its own defaults.
  const OptimizerSpec& other = sweep.runs[2].spec.train.optimizer;
  EXPECT_EQ(other.name, OptimizerName::adam);
  EXPECT_EQ(other.lr, OptimizerSpec().lr);
  EXPECT_EQ(other.weight_decay, 0);
  EXPECT_EQ(sweep.runs[2].spec.train.epochs, 5);
}

TEST(Resolved, ReadsBackToTheSameRuns) {
  for (const std::string& text :
       {std::string(kEverything), shipped("demo.json"), shipped("image_small.json")}) {
    const Sweep sweep = read_text(text);
    const Sweep again = read_text(sweep.resolved.dump(2));
    EXPECT_EQ(ids(again), ids(sweep));
    EXPECT_EQ(again.name, sweep.name);
    EXPECT_EQ(again.resolved, sweep.resolved);
    for (size_t i = 0; i < sweep.runs.size(); ++i) {
      EXPECT_EQ(again.runs[i].config, sweep.runs[i].config);
      EXPECT_EQ(again.runs[i].depends_on, sweep.runs[i].depends_on);
      EXPECT_EQ(again.runs[i].spec.data.root, sweep.runs[i].spec.data.root);
      EXPECT_EQ(again.runs[i].spec.data.workers, sweep.runs[i].spec.data.workers);
    }
  }
}

TEST(Resolved, WritesEveryDefault) {
  const auto benchmark = read_text(with_methods(R"({"method": "fp32"})")).resolved["benchmarks"][0];
  EXPECT_EQ(benchmark["seeds"].dump(), "[1]");
  EXPECT_EQ(
      benchmark["train"].dump(),
      R"({"accumulate_steps":1,"batch_size":128,"checkpoint_minutes":5.0,"epochs":1,"max_grad_norm":0.0,)"
      R"("max_skipped_steps":10,)"
      R"("optimizer":{"lr":0.1,"momentum":0.9,"name":"sgd","nesterov":false,"weight_decay":0.0},)"
      R"("precision":"fp32","schedule":{"name":"constant","warmup_epochs":0.0}})");
  EXPECT_EQ(benchmark["quant"].dump(), R"({"exclude":[],"float16":false,"min_size_mb":0.01})");
  EXPECT_EQ(benchmark["model"].dump(), R"({"batchnorm":true,"name":"small_cnn"})");
}

TEST(Fingerprint, IsAskedOncePerDataSpecification) {
  int asked = 0;
  read_sweep(kEverything, "s.json", {}, {[&](const DataSpec& spec) { return ++asked, spec.root; }, {}});
  EXPECT_EQ(asked, 2);
}

}  // namespace
}  // namespace diffq
