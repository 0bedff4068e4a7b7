// Everything a user can get wrong in a sweep file, with the whole message: place, problem, remedy.

#include "tests/sweeps/sweep_text.h"

namespace diffq {
namespace {

const std::string kB = "benchmarks[0]";
const std::string kM = "benchmarks[0].methods[0]";
const std::string kFp32 = R"({"method": "fp32"})";

std::string train(const std::string& keys) { return with_methods(kFp32, ", \"train\": {" + keys + "}"); }
std::string optimizer(const std::string& keys) { return train("\"optimizer\": {" + keys + "}"); }
std::string schedule(const std::string& keys) { return train("\"schedule\": {" + keys + "}"); }
std::string data(const std::string& keys) {
  return R"({"sweep": "s", "benchmarks": [{"data": {)" + keys +
         R"(}, "model": {"name": "small_cnn"}, "methods": [{"method": "fp32"}]}]})";
}
std::string model(const std::string& value) {
  return R"({"sweep": "s", "benchmarks": [{"data": {"name": "mnist", "root": "d"}, "model": )" + value +
         R"(, "methods": [{"method": "fp32"}]}]})";
}

TEST(SweepErrors, TheSmallestSweepIsTaken) { EXPECT_EQ(refusal(with_methods(kFp32)), ""); }

TEST(SweepErrors, Top) {
  const std::string rest =
      R"("benchmarks": [{"data": {"name": "mnist", "root": "d"}, "model": {"name": "small_cnn"}, )"
      R"("methods": [{"method": "fp32"}]}]})";
  expect_refused({
      {"[]", "must be an object {...}, not []"},
      {"3", "must be an object {...}, not 3"},
      {"{" + rest, "sweep: is missing; it has no default"},
      {R"({"sweeep": "s", )" + rest, "sweeep: unknown key; did you mean \"sweep\"?"},
      {R"({"sweep": "", )" + rest, "sweep: must not be empty"},
      {R"({"sweep": 3, )" + rest, "sweep: must be a string, not 3"},
      {R"({"sweep": "a\nb", )" + rest, R"(sweep: must not hold control characters, not "a\nb")"},
      {R"({"sweep": "s"})", "benchmarks: is missing; it has no default"},
      {R"({"sweep": "s", "benchmarks": []})", "benchmarks: is an empty list; give at least one entry"},
      {R"({"sweep": "s", "benchmarks": {}})", "benchmarks: must be a list, not {}"},
      {R"({"sweep": "s", "benchmarks": [3]})", kB + ": must be an object {...}, not 3"},
      {R"({"sweep": "s", "rank_per_runs": 1, )" + rest,
       "rank_per_runs: unknown key; did you mean \"ranks_per_run\"?"},
      {R"({"sweep": "s", "ranks_per_run": 0, )" + rest,
       "ranks_per_run: must be a whole number from 1 to 65536, not 0"},
      {R"({"sweep": "s", "sweep": "t", )" + rest, "sweep: duplicate key; keep one of the two"},
      {R"({"sweep": "s", "seeds": [], )" + rest, "seeds: is an empty list; give at least one entry"},
      {R"({"sweep": "s", "seeds": 1, )" + rest, "seeds: must be a list, not 1"},
      {R"({"sweep": "s", "seeds": [1, -1], )" + rest,
       "seeds[1]: must be a whole number of at least 0, not -1"},
      {R"({"sweep": "s", "seeds": [1.5], )" + rest,
       "seeds[0]: must be a whole number of at least 0, not 1.5"},
      {R"({"sweep": "s", "seeds": [1e30], )" + rest, "seeds[0]: must be below 2^53 in size, not 1e+30"},
      {R"({"sweep": "s", "seeds": [2, 3, 2.0], )" + rest,
       "seeds[2]: 2 is already seeds[0]; remove one of the two"},
  });
}

TEST(SweepErrors, Benchmark) {
  expect_refused({
      {with_methods(kFp32, R"(, "seed": [1])"), kB + ".seed: unknown key; did you mean \"seeds\"?"},
      {with_methods(kFp32, R"(, "seeds": [])"), kB + ".seeds: is an empty list; give at least one entry"},
      {R"({"sweep": "s", "benchmarks": [{"model": {"name": "small_cnn"}, "methods": []}]})",
       kB + ".data: is missing; it has no default"},
      {with_methods(""), kB + ".methods: is an empty list; give at least one entry"},
      {with_methods("3"), kM + ": must be an object {...}, not 3"},
      {with_methods("[]"), kM + ": must be an object {...}, not []"},
      {with_methods(kFp32, R"(, "train": [])"), kB + ".train: must be an object {...}, not []"},
      {with_methods(kFp32, R"(, "eval": {"batch_size": 0})"),
       kB + ".eval.batch_size: must be a whole number of at least 1, not 0"},
      {with_methods(kFp32, R"(, "eval": {"recalibrate_batchnorm": -1})"),
       kB + ".eval.recalibrate_batchnorm: must be a whole number of at least 0, not -1"},
      {with_methods(kFp32, R"(, "eval": {"recalibrate": 0})"),
       kB + ".eval.recalibrate: unknown key; did you mean \"batch_size\"?"},
      {with_methods(kFp32, R"(, "quant": {"min_size_mb": -1})"),
       kB + ".quant.min_size_mb: must be a number of at least 0, not -1"},
      {with_methods(kFp32, R"(, "quant": {"exclude": "conv*"})"),
       kB + R"(.quant.exclude: must be a list of strings, not "conv*")"},
      {with_methods(kFp32, R"(, "quant": {"exclude": ["a", ""]})"),
       kB + ".quant.exclude[1]: must not be empty"},
      {with_methods(kFp32, R"(, "quant": {"float16": 1})"),
       kB + ".quant.float16: must be true or false, not 1"},
  });
}

TEST(SweepErrors, DataAndModel) {
  const std::string d = kB + ".data";
  expect_refused({
      {data(R"("name": "mnist")"), d + ".root: is missing; it has no default"},
      {data(R"("root": "d")"), d + ".name: is missing; it has no default"},
      {data(R"("name": "minst", "root": "d")"),
       d + R"(.name: unknown word "minst"; did you mean "mnist"? The words are mnist, idx, cifar10, cifar100, imagenet, wikitext103, text, musdb, stems, openmsx_synthesised)"},
      {data(R"("name": 3, "root": "d")"),
       d + ".name: must be one of the words mnist, idx, cifar10, "
           "cifar100, imagenet, wikitext103, text, musdb, stems, openmsx_synthesised, not 3"},
      {data(R"("name": "mnist", "root": "")"), d + ".root: must not be empty"},
      {data(R"("name": "mnist", "root": "d", "workers": 0)"),
       d + ".workers: must be a whole number from 1 to 1024, not 0"},
      {data(R"("name": "mnist", "root": "d", "train_samples": -5)"),
       d + ".train_samples: must be a whole number of at least 0, not -5"},
      {data(R"("name": "mnist", "root": "d", "valid_samples": 0)"),
       d + ".valid_samples: must be a whole number of at least 1, not 0"},
      {data(R"("name": "mnist", "root": "d", "train_samples": 100)"),
       d + ".train_samples: must be at least the batch_size of " + kM + " (128), or 0 for all, not 100"},
      {data(R"("name": "mnist", "root": "d", "augment": {"shfit": 1})"),
       d + ".augment.shfit: unknown key; did you mean \"shift\"?"},
      {data(R"("name": "mnist", "root": "d", "augment": {"crop": "24"})"),
       d + R"(.augment.crop: must be a whole number of at least 0, not "24")"},
      {data(R"("name": "mnist", "root": "d", "augment": {"flip": 0})"),
       d + ".augment.flip: must be true or false, not 0"},
      {data(R"("name": "mnist", "root": "d", "max_corrupt": 5)"),
       d + ".max_corrupt: mnist has no max_corrupt; its keys are name, root, train_samples, valid_samples, "
           "test_samples, augment, workers"},
      {data(R"("name": "imagenet", "root": "d", "augment": {"shift": 1})"),
       d + ".augment.shift: unknown key; did you mean \"flip\"?"},
      {data(R"("name": "imagenet", "root": "d", "augment": {"crop": 0})"),
       d + ".augment.crop: must be a whole number from 1 to 16384, not 0"},
      {model(R"({"name": "resnet21"})"),
       kB +
           R"(.model.name: unknown word "resnet21"; did you mean "resnet20"? The words are small_cnn, resnet20, resnet18, mobilenet, wide_resnet28_10, cifar_vit, deit_tiny, deit_small, deit_base, efficientnet_b3, transformer_lm, demucs)"},
      {model(R"({"name": "resnet20", "batchnorm": false})"),
       kB + ".model.batchnorm: resnet20 has no batchnorm; its keys are name"},
      {model(R"({"name": "deit_tiny", "dropout": 0.1})"),
       kB + ".model.dropout: deit_tiny has no dropout; its keys are name, drop_path"},
      {model(R"({"name": "efficientnet_b3", "drop_path": 1})"),
       kB + ".model.drop_path: must be a number of at least 0 and below 1, not 1"},
      {model(R"("resnet20")"), kB + R"(.model: must be an object {...}, not "resnet20")"},
      {model(R"({"nam": "resnet20"})"), kB + ".model.nam: unknown key; did you mean \"name\"?"},
  });
}

TEST(SweepErrors, Train) {
  const std::string t = kB + ".train";
  expect_refused({
      {R"({"sweep": "x", "benchmarks": [{"data": {"name": "text", "root": "d"}, "model": {"name": "transformer_lm"},
           "train": {"cuda_graph": true}, "methods": [{"method": "fp32"}]}]})",
       t + ".cuda_graph: is for pictures; leave it out for transformer_lm"},
      {train(R"("batch_size": -3)"), t + ".batch_size: must be a whole number of at least 1, not -3"},
      {train(R"("epochs": 0)"), t + ".epochs: must be a whole number of at least 1, not 0"},
      {train(R"("epochs": 3.5)"), t + ".epochs: must be a whole number of at least 1, not 3.5"},
      {train(R"("epochs": "3")"), t + R"(.epochs: must be a whole number of at least 1, not "3")"},
      {train(R"("epochs": null)"), t + ".epochs: must be a whole number of at least 1, not null"},
      {train(R"("epochs": [1, 2])"), t + ".epochs: must be a whole number of at least 1, not [1,2]"},
      {train(R"("epoch": 3)"), t + ".epoch: unknown key; did you mean \"epochs\"?"},
      {train(R"("epochs": 3, "epochs": 4)"), t + ".epochs: duplicate key; keep one of the two"},
      {train(R"("accumulate_steps": 3)"), t + ".batch_size: must be a multiple of ranks_per_run (1) times "
                                              "accumulate_steps (3), not 128; 126 or 129 would do"},
      {train(R"("accumulate_steps": 300)"), t + ".batch_size: must be a multiple of ranks_per_run (1) times "
                                                "accumulate_steps (300), not 128; 300 would do"},
      {train(R"("max_grad_norm": -1)"), t + ".max_grad_norm: must be a number of at least 0, not -1"},
      {train(R"("max_skipped_steps": 0)"),
       t + ".max_skipped_steps: must be a whole number of at least 1, not 0"},
      {train(R"("precision": "fp16")"),
       t + R"(.precision: unknown word "fp16"; did you mean "fp32"? The words are fp32, bf16)"},
      {train(R"("algorithms": "fast")"),
       t + R"(.algorithms: unknown word "fast"; did you mean "fastest"? The words are repeatable, fastest)"},
      {train(R"("ema": 1)"), t + ".ema: must be a number of at least 0 and below 1, not 1"},
      {optimizer(R"("name": "ngd")"),
       t + R"(.optimizer.name: unknown word "ngd"; did you mean "sgd"? The words are sgd, nag, adam, adamw)"},
      {optimizer(R"("lr": -0.1)"), t + ".optimizer.lr: must be a number of at least 0, not -0.1"},
      {optimizer(R"("lr": true)"), t + ".optimizer.lr: must be a number of at least 0, not true"},
      {optimizer(R"("momentum": 1)"),
       t + ".optimizer.momentum: must be a number of at least 0 and below 1, not 1"},
      {optimizer(R"("nesterov": true, "momentum": 0)"),
       t + ".optimizer.nesterov: needs a momentum above 0; set one, or nesterov to false"},
      {optimizer(R"("name": "adam", "momentum": 0.9)"),
       t + ".optimizer.momentum: adam has no momentum; its keys are name, lr, weight_decay, beta1, beta2, "
           "epsilon"},
      {optimizer(R"("name": "sgd", "beta1": 0.9)"),
       t + ".optimizer.beta1: sgd has no beta1; its keys are name, lr, weight_decay, momentum, nesterov"},
      {optimizer(R"("name": "adam", "epsilon": 0)"),
       t + ".optimizer.epsilon: must be a number above 0, not 0"},
      {optimizer(R"("name": "adam", "beta2": 1)"),
       t + ".optimizer.beta2: must be a number of at least 0 and below 1, not 1"},
      {optimizer(R"("weight_decay": -1)"),
       t + ".optimizer.weight_decay: must be a number of at least 0, not -1"},
      {schedule(R"("name": "cosin")"),
       t + R"(.schedule.name: unknown word "cosin"; did you mean "cosine"? The words are constant, step, cosine, cosine_restarts)"},
      {schedule(R"("name": "cosine", "factor": 0.5)"),
       t + ".schedule.factor: cosine has no factor; its keys are name, warmup_epochs"},
      {schedule(R"("name": "step", "factor": 0)"),
       t + ".schedule.factor: must be a number above 0 and at most 1, not 0"},
      {schedule(R"("name": "step", "factor": 1.5)"),
       t + ".schedule.factor: must be a number above 0 and at most 1, not 1.5"},
      {schedule(R"("name": "step", "every_epochs": 0)"),
       t + ".schedule.every_epochs: must be a whole number of at least 1, not 0"},
      {schedule(R"("warmup_epochs": -1)"),
       t + ".schedule.warmup_epochs: must be a number of at least 0, not -1"},
      {schedule(R"("warmup_epochs": 2.5)"), t + ".schedule.warmup_epochs: must be below epochs (1), not 2.5"},
  });
}

TEST(SweepErrors, BatchMustDivideByRanks) {
  const std::string text =
      R"({"sweep": "s", "ranks_per_run": 6, "benchmarks": [{"data": {"name": "mnist", "root": "d"},
    "model": {"name": "small_cnn"}, "methods": [{"method": "fp32"}]}]})";
  const std::string message =
      "s.json: benchmarks[0].train.batch_size: must be a multiple of ranks_per_run (6) times "
      "accumulate_steps (1), not "
      "128; 126 or 132 would do";
  EXPECT_EQ(refusal(text), message);
  EXPECT_EQ(refusal(text, {"benchmarks.0.train={\"batch_size\": 132}"}), "");
  // Whose product would not fit into 64 bits.
  EXPECT_NE(refusal(text, {R"(benchmarks.0.train={"batch_size": 4e15, "accumulate_steps": 4e15})"}), "");
}

TEST(SweepErrors, Methods) {
  const auto diffq = [](const std::string& keys) {
    return with_methods(R"({"method": "diffq", "lambda": 1, )" + keys + "}");
  };
  expect_refused({
      {with_methods(R"({"bits": 3})"), kM + ".method: is missing; it has no default"},
      {with_methods(R"({"metod": "qat"})"), kM + ".metod: unknown key; did you mean \"method\"?"},
      {with_methods(R"({"method": "difq"})"),
       kM +
           R"(.method: unknown word "difq"; did you mean "diffq"? The words are fp32, ptq, qat, lsq, diffq)"},
      {with_methods(R"({"method": "diffq", "lamda": 1})"),
       kM + ".lamda: unknown key; did you mean \"lambda\"?"},
      {with_methods(R"({"method": "diffq"})"), kM + ".lambda: is missing; it has no default"},
      {with_methods(R"({"method": "diffq", "lambda": -0.5})"),
       kM + ".lambda: must be a number of at least 0, not -0.5"},
      {with_methods(R"({"method": "diffq", "lambda": "1"})"),
       kM + R"(.lambda: must be a number of at least 0, not "1")"},
      {with_methods(R"({"method": "diffq", "lambda": 1, "target_mb": 2})"),
       kM + ".target_mb: takes the place of lambda; give one of the two"},
      {with_methods(R"({"method": "diffq", "target_mb": 0})"),
       kM + ".target_mb: must be a number above 0, not 0"},
      {with_methods(R"({"method": "qat", "bits": 3, "front": {}})"), kM + ".front: is for diffq alone"},
      {with_methods(R"({"method": "diffq", "lambda": 1, "front": {}})"),
       kM + ".front: takes the place of lambda; give one of the two"},
      {with_methods(R"({"method": "diffq", "front": {"points": 1, "from_mb": 1, "to_mb": 2}})"),
       kM + ".front.points: must be a whole number from 2 to 1000, not 1"},
      {with_methods(R"({"method": "diffq", "front": {"to_mb": 2}})"),
       kM + ".front.from_mb: is missing; it has no default"},
      {with_methods(R"({"method": "diffq", "front": {"from_mb": 2, "to_mb": 2}})"),
       kM + ".front.to_mb: must be above from_mb (2), not 2"},
      {with_methods(R"({"method": "diffq", "front": {"from_mb": 1, "to_mb": 2, "point": 3}})"),
       kM + ".front.point: unknown key; did you mean \"points\"?"},
      {with_methods(R"({"method": "qat", "bits": 3, "target_mb": 1})"),
       kM + ".target_mb: qat has no target_mb; its keys are method, bits, start, train"},
      {with_methods(R"({"method": "diffq", "lambda": []})"),
       kM + ".lambda: is an empty list; give at least one entry"},
      {with_methods(R"({"method": "diffq", "lambda": [1, [2]]})"),
       kM + ".lambda[1]: is a list in a list; write one flat list of values"},
      {with_methods(R"({"method": "diffq", "lambda": [1, 2, 1.0]})"),
       kM + ".lambda[2]: 1.0 is already " + kM + ".lambda[0]; remove one of the two"},
      {diffq(R"("group_size": -1)"), kM + ".group_size: must be a whole number of at least 0, not -1"},
      {diffq(R"("noise": "gausian")"),
       kM +
           R"(.noise: unknown word "gausian"; did you mean "gaussian"? The words are gaussian, uniform, matched)"},
      {diffq(R"("bits_lr": 0)"), kM + ".bits_lr: must be a number above 0, not 0"},
      {diffq(R"("bits": 3)"),
       kM + ".bits: diffq has no bits; its keys are method, preset, target_mb, lambda, group_size, "
            "noise, parametrisation, min_bits, init_bits, "
            "max_bits, bits_lr, rank_noise, clip, range, frozen, start, train"},
      {diffq(R"("min_bits": -1)"), kM + ".min_bits: must be a number of at least 0, not -1"},
      {diffq(R"("min_bits": 0, "group_size": 0)"),
       kM + ".min_bits: can be 0 only for groups of 1 to 256 weights; group_size is 0"},
      {diffq(R"("min_bits": 0, "parametrisation": "noise")"),
       kM + R"(.min_bits: can be 0 only with parametrisation "bits": no noise is that of 0 bits)"},
      {diffq(R"("max_bits": 16)"), kM + ".max_bits: must be a number above 0 and at most 15, not 16"},
      {diffq(R"("min_bits": 8)"),
       kM + ".init_bits: must lie between min_bits and max_bits, but 8 < 8 < 15 does not hold"},
      {diffq(R"("init_bits": 15)"),
       kM + ".init_bits: must lie between min_bits and max_bits, but 2 < 15 < 15 does not hold"},
      {diffq(R"("max_bits": 1)"),
       kM + ".init_bits: must lie between min_bits and max_bits, but 2 < 8 < 1 does not hold"},
      {diffq(R"("start": "model.pt")"),
       kM + R"(.start: must be "fp32" or the path of a .safetensors file, not "model.pt")"},
      {with_methods(R"({"method": "qat"})"), kM + ".bits: is missing; it has no default"},
      {with_methods(R"({"method": "qat", "bits": 0})"),
       kM + ".bits: must be a whole number from 1 to 15, not 0"},
      {with_methods(R"({"method": "qat", "bits": 16})"),
       kM + ".bits: must be a whole number from 1 to 15, not 16"},
      {with_methods(R"({"method": "qat", "bits": [2, 2.5]})"),
       kM + ".bits: must be a whole number from 1 to 15, not 2.5"},
      {with_methods(R"({"method": "lsq", "bits": 1})"),
       kM + ".bits: must be a whole number from 2 to 15, not 1"},
      {with_methods(R"({"method": "lsq", "bits": 2, "scale_lr": -1})"),
       kM + ".scale_lr: must be a number of at least 0, not -1"},
      {with_methods(R"({"method": "qat", "bits": 3, "lambda": 1})"),
       kM + ".lambda: qat has no lambda; its keys are method, bits, start, train"},
      {with_methods(R"({"method": "fp32", "start": "fp32"})"),
       kM + ".start: fp32 has no start; its keys are method, train"},
      {with_methods(R"({"method": "ptq", "bits": 3, "train": {}})"),
       kM + ".train: ptq trains nothing; remove it, or use qat"},
      {with_methods(R"({"method": "ptq", "bits": 3, "clip": "max"})"),
       kM + R"(.clip: unknown word "max"; did you mean "mse"? The words are minmax, mse)"},
  });
}

TEST(SweepErrors, MethodsOwnTraining) {
  const std::string t = kM + ".train";
  const auto own = [](const std::string& value) {
    return with_methods(R"({"method": "fp32", "train": )" + value + "}");
  };
  expect_refused({
      {own("3"), t + ": must be an object {...}, not 3"},
      {own(R"({"epoch": 1})"), t + ".epoch: unknown key; did you mean \"epochs\"?"},
      {own(R"({"optimizer": {"lr": -1}})"), t + ".optimizer.lr: must be a number of at least 0, not -1"},
      {own(R"({"optimizer": 1})"), t + ".optimizer: must be an object {...}, not 1"},
      {own(R"({"optimizer": {"lr": []}})"), t + ".optimizer.lr: is an empty list; give at least one entry"},
      {own(R"({"optimizer": {"name": "adam", "momentum": 0.5}})"),
       t + ".optimizer.momentum: adam has no momentum; its keys are name, lr, weight_decay, beta1, beta2, "
           "epsilon"},
      {own(R"({"accumulate_steps": 7})"), t + ".batch_size: must be a multiple of ranks_per_run (1) times "
                                              "accumulate_steps (7), not 128; 126 or 133 would do"},
  });
}

TEST(SweepErrors, Starts) {
  const std::string none =
      ": starts from the fp32 run, but benchmarks[0] has none; add {\"method\": \"fp32\"} to its methods";
  const std::string several =
      ": starts from the fp32 run, but benchmarks[0] has several; give each a benchmark of its own";
  expect_refused({
      {with_methods(R"({"method": "ptq", "bits": 4})"), kM + none},
      {with_methods(R"({"method": "lsq", "bits": 4, "start": "fp32"})"), kM + none},
      {with_methods(R"({"method": "fp32", "train": {"epochs": [1, 2]}}, {"method": "ptq", "bits": 4})"),
       "benchmarks[0].methods[1]" + several},
  });
}

TEST(SweepErrors, TheSameRunTwice) {
  expect_refused({
      {with_methods(
           R"({"method": "fp32"}, {"method": "qat", "bits": [2, 3]}, {"bits": 3.0, "method": "qat"})"),
       "benchmarks[0].methods[2]: is the same run as one of benchmarks[0].methods[1], seed 1; remove one of "
       "the two"},
  });
}

TEST(SweepErrors, TooManyRuns) {
  std::string list = "[1";
  for (int i = 2; i <= 200; ++i) list += "," + std::to_string(i);
  list += "]";
  const std::string entry = R"({"method": "diffq", "lambda": )" + list + R"(, "group_size": )" + list + "}";
  EXPECT_EQ(refusal(with_methods(entry)),
            "s.json: " + kM + ": stands for more than 10000 runs; shorten its lists");
  const std::string one_axis = R"({"method": "diffq", "lambda": )" + list + "}";
  EXPECT_EQ(refusal(with_methods(one_axis, R"(, "seeds": )" + list)),
            "s.json: benchmarks[0]: makes the sweep larger than 10000 runs; split the file");
}

// What the user wrote is refused before any data is looked at.
TEST(SweepErrors, ComeBeforeTheDataIsRead) {
  bool asked = false;
  const auto fingerprint = [&](const DataSpec&) { return asked = true, std::string(); };
  EXPECT_THROW(read_sweep(with_methods(R"({"method": "ptq", "bits": 4})"), "s.json", {}, {fingerprint, {}}),
               std::invalid_argument);
  EXPECT_FALSE(asked);
}

}  // namespace
}  // namespace diffq
