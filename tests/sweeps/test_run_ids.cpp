// What identifies a run. The pinned ids are a promise: finished runs of older output folders are found again.

#include <algorithm>

#include "tests/sweeps/sweep_text.h"

namespace diffq {
namespace {

const std::string kFp32 = R"({"sweep": "s", "benchmarks": [{"data": {"name": "mnist", "root": "d"},
  "model": {"name": "small_cnn"}, "train": {"epochs": 2}, "methods": [{"method": "fp32"}]}]})";
const std::string kDiffq = R"({"sweep": "s", "benchmarks": [{"data": {"name": "mnist", "root": "d"},
  "model": {"name": "resnet20"}, "train": {"epochs": 2, "optimizer": {"name": "adam", "lr": 1e-3}},
  "methods": [{"method": "diffq", "lambda": 1, "group_size": 8}]}]})";
const std::string kPtq = R"({"sweep": "s", "benchmarks": [{"data": {"name": "mnist", "root": "d"},
  "model": {"name": "small_cnn"}, "train": {"epochs": 2}, "methods": [{"method": "fp32"}, {"method": "ptq", "bits": 4}]}]})";

std::string last_id(const std::string& text, const std::vector<std::string>& overrides = {},
                    const std::string& fingerprint = "fixed") {
  return read_text(text, overrides, fingerprint).runs.back().run_id;
}

TEST(RunId, Pinned) {
  EXPECT_EQ(last_id(kFp32), "273e162d83bc");
  EXPECT_EQ(last_id(kDiffq), "6a17ad3c7b74");
  EXPECT_EQ(last_id(kPtq), "2a69403e8bfb");
}

// A second look at the definition: the hash of the text that stands here.
TEST(RunId, IsTheHashOfTheCanonicalSpecification) {
  const auto run = read_text(kPtq).runs.back();
  const std::string config =
      R"({"data":{"augment":{"crop":0,"flip":false,"shift":0},"name":"mnist","test_samples":0,"train_samples":0,)"
      R"("valid_samples":10000},"data_fingerprint":"fixed","eval":{"batch_size":500},"method":{"bits":4,"clip":"minmax",)"
      R"("method":"ptq"},"model":{"batchnorm":true,"name":"small_cnn"},"quant":{"exclude":[],"float16":false,)"
      R"("min_size_mb":0.01},"ranks_per_run":1,"seed":1,"start":")" +
      last_id(kFp32) + R"("})";
  EXPECT_EQ(run.config.dump(), config);
  EXPECT_EQ(run.run_id, run_id_of(nlohmann::json::parse(config)));
}

TEST(RunId, OnlyTheKeysOfTheMethod) {
  const auto method = [](const std::string& text) {
    return read_text(text).runs.back().config["method"].dump();
  };
  EXPECT_EQ(method(kFp32), R"({"method":"fp32"})");
  EXPECT_EQ(method(with_methods(R"({"method": "qat", "bits": 4})")),
            R"({"bits":4,"method":"qat","start":null})");
  EXPECT_EQ(method(with_methods(R"({"method": "lsq", "bits": 4})")),
            R"({"bits":4,"method":"lsq","scale_lr":null,"start":null})");
  EXPECT_EQ(
      method(kDiffq),
      R"({"bits_lr":0.001,"group_size":8,"init_bits":8.0,"lambda":1.0,"max_bits":15.0,"method":"diffq","min_bits":2.0,)"
      R"("noise":"gaussian","parametrisation":"bits","rank_noise":"independent","start":null})");
}

TEST(RunId, APresetStandsForItsSettings) {
  EXPECT_EQ(last_id(kDiffq, {"benchmarks.0.methods.0.preset=published"}), last_id(kDiffq));
  EXPECT_EQ(last_id(kDiffq, {"benchmarks.0.methods.0.preset=published", "benchmarks.0.methods.0.clip=minmax",
                             "benchmarks.0.methods.0.frozen=0"}),
            last_id(kDiffq));
  MethodSpec strong;
  apply_preset(Preset::strong, strong);
  const auto method =
      read_text(kDiffq, {"benchmarks.0.methods.0.preset=strong", "benchmarks.0.methods.0.noise=uniform"})
          .runs.back()
          .spec.method;
  EXPECT_EQ(method.noise, NoiseKind::uniform) << "what is said beside it counts";
  EXPECT_EQ(method.clip, strong.clip);
  EXPECT_EQ(method.frozen, strong.frozen);
}

TEST(RunId, ATargetTakesThePlaceOfLambda) {
  const auto run = read_text(with_methods(R"({"method": "diffq", "target_mb": [0.05, 0.1]})")).runs.back();
  EXPECT_EQ(run.spec.method.target_mb, 0.1);
  EXPECT_FALSE(run.config["method"].contains("lambda"));
  EXPECT_EQ(run.config["method"]["target_mb"], 0.1);
  nlohmann::json config = run.config;
  config["data"]["root"] = "d";
  EXPECT_EQ(read_model_config(config.dump(), "a file").method.target_mb, 0.1);
}

TEST(RunId, UnchangedByHowItIsWritten) {
  const std::string id = last_id(kDiffq);
  const std::string rewritten = R"(// a comment
    {"benchmarks": [{"methods": [{"group_size": 8.0, "lambda": 1.0, "method": "diffq", "min_bits": 2, "start": null}],
     "train": {"optimizer": {"lr": 0.001, "name": "adam"}, "epochs": 2.0, "max_grad_norm": -0.0}, // another
     "model": {"name": "resnet20"}, "data": {"root": "elsewhere", "name": "mnist", "workers": 7}}],
     "seeds": [1.0], "sweep": "another name"})";
  EXPECT_EQ(last_id(rewritten), id);
  EXPECT_EQ(last_id(kDiffq, {"benchmarks.0.data.root=/x"}), id);
  EXPECT_EQ(last_id(kDiffq, {"benchmarks.0.data.workers=3"}), id);
  EXPECT_EQ(last_id(kDiffq, {"benchmarks.0.train.checkpoint_minutes=0.5"}), id);
  EXPECT_EQ(last_id(kDiffq, {"benchmarks.0.train.rank_check_steps=7"}), id);
  EXPECT_EQ(last_id(kDiffq, {"benchmarks.0.train.cuda_graph=true"}), id);
  EXPECT_EQ(last_id(kDiffq, {"benchmarks.0.train.mixup=0"}), id);
  EXPECT_EQ(last_id(kDiffq, {"benchmarks.0.train.bucket_mb=25"}), id);
}

TEST(RunId, ChangedByEverythingThatDecidesTheResult) {
  std::vector<std::string> seen{last_id(kDiffq), last_id(kDiffq, {}, "other data")};
  for (const char* change : {"benchmarks.0.train.epochs=3",
                             "benchmarks.0.train.bucket_mb=5",
                             "benchmarks.0.train.first_bucket_mb=2",
                             "seeds=[2]",
                             "ranks_per_run=2",
                             "benchmarks.0.methods.0.lambda=1.5",
                             "benchmarks.0.methods.0.group_size=4",
                             "benchmarks.0.methods.0.bits_lr=0.01",
                             "benchmarks.0.methods.0.noise=uniform",
                             "benchmarks.0.methods.0.parametrisation=noise",
                             "benchmarks.0.methods.0.min_bits=3",
                             "benchmarks.0.methods.0.init_bits=7",
                             "benchmarks.0.methods.0.max_bits=14",
                             "benchmarks.0.methods.0.rank_noise=shared",
                             "benchmarks.0.methods.0.noise=matched",
                             "benchmarks.0.methods.0.clip=mse",
                             "benchmarks.0.methods.0.frozen=0.2",
                             "benchmarks.0.methods.0.preset=strong",
                             "benchmarks.0.eval={\"recalibrate_batchnorm\": 10}",
                             "benchmarks.0.train.batch_size=64",
                             "benchmarks.0.train.accumulate_steps=2",
                             "benchmarks.0.train.max_grad_norm=5",
                             "benchmarks.0.train.max_skipped_steps=5",
                             "benchmarks.0.train.label_smoothing=0.1",
                             "benchmarks.0.train.mixup=0.8",
                             "benchmarks.0.train.cutmix=1",
                             "benchmarks.0.train.ema=0.999",
                             "benchmarks.0.train.precision=bf16",
                             "benchmarks.0.train.algorithms=fastest",
                             "benchmarks.0.train.optimizer.lr=0.1",
                             "benchmarks.0.train.optimizer.beta1=0.8",
                             "benchmarks.0.train.optimizer.name=adamw",
                             "benchmarks.0.train.schedule={\"name\": \"cosine\"}",
                             "benchmarks.0.train.schedule={\"warmup_epochs\": 1}",
                             "benchmarks.0.data.name=idx",
                             "benchmarks.0.data.train_samples=1000",
                             "benchmarks.0.data.valid_samples=1",
                             "benchmarks.0.data.test_samples=1",
                             "benchmarks.0.data.augment={\"shift\": 1}",
                             "benchmarks.0.data.augment={\"crop\": 20}",
                             "benchmarks.0.data.augment={\"flip\": true}",
                             "benchmarks.0.model.name=small_cnn",
                             "benchmarks.0.model={\"name\": \"small_cnn\", \"batchnorm\": false}",
                             "benchmarks.0.eval={\"batch_size\": 10}",
                             "benchmarks.0.quant={\"float16\": true}",
                             "benchmarks.0.quant={\"min_size_mb\": 1}",
                             "benchmarks.0.quant={\"exclude\": [\"a\"]}"}) {
    const std::string id = last_id(kDiffq, {change});
    EXPECT_EQ(std::count(seen.begin(), seen.end(), id), 0) << change;
    seen.push_back(id);
  }
}

TEST(RunId, PhotosHaveKeysOfTheirOwn) {
  const auto photos = [](const std::string& more) {
    return read_text(kFp32, {"benchmarks.0.data={\"name\": \"imagenet\", \"root\": \"d\"" + more + "}"})
        .runs.back();
  };
  EXPECT_EQ(
      photos("").config["data"].dump(),
      R"({"augment":{"crop":224,"flip":true,"random_resized_crop":true,"resize":256},"name":"imagenet",)"
      R"("test_samples":0,"train_samples":0,"valid_samples":10000})");
  const std::string id = photos("").run_id;
  EXPECT_EQ(photos(R"(, "max_corrupt": 5)").run_id, id);
  EXPECT_EQ(photos(R"(, "augment": {"resize": 256, "crop": 224})").run_id, id);
  EXPECT_EQ(
      photos(
          R"(, "augment": {"interpolation": "bilinear", "rand_augment": 0, "random_erasing": 0.0, "repeats": 1})")
          .run_id,
      id);
  for (const char* change : {R"("crop": 192)", R"("resize": 232)", R"("flip": false)",
                             R"("random_resized_crop": false)", R"("interpolation": "bicubic")",
                             R"("rand_augment": 9)", R"("random_erasing": 0.25)", R"("repeats": 3)"})
    EXPECT_NE(photos(std::string(R"(, "augment": {)") + change + "}").run_id, id) << change;
}

// A run that starts from another is another run when that one is.
TEST(RunId, ChangesWithWhatItStartsFrom) {
  EXPECT_NE(last_id(kPtq), last_id(kPtq, {"benchmarks.0.train.epochs=3"}));
  EXPECT_NE(last_id(kPtq),
            last_id(kPtq, {R"(benchmarks.0.methods.0={"method": "fp32", "train": {"epochs": 3}})"}));
}

TEST(RunId, IsTwelveHexDigits) {
  const std::string id = last_id(kFp32);
  EXPECT_EQ(id.size(), 12u);
  EXPECT_EQ(id.find_first_not_of("0123456789abcdef"), std::string::npos);
}

}  // namespace
}  // namespace diffq
