// --set and --only.

#include "tests/sweeps/sweep_text.h"

namespace diffq {
namespace {

const std::string kText = with_methods(R"({"method": "fp32"}, {"method": "qat", "bits": [2, 3]},
  {"method": "ptq", "bits": [4]}, {"method": "diffq", "lambda": [0.5, 1], "group_size": [4, 8]})",
                                       R"(, "seeds": [1, 2], "train": {"epochs": 3})");

TEST(Overrides, ReplaceValues) {
  const Sweep sweep =
      read_text(kText, {"benchmarks.0.train.epochs=7", "benchmarks.0.data.root=/some/where",
                        "benchmarks.0.methods.1.bits=[5]", "benchmarks.0.methods.3.lambda.1=2.5",
                        "benchmarks.0.train.optimizer={\"name\": \"adam\"}", "sweep=true_story",
                        "benchmarks.0.train.optimizer.lr=1e-3"});
  EXPECT_EQ(sweep.name, "true_story");
  EXPECT_EQ(sweep.runs[0].spec.train.epochs, 7);
  EXPECT_EQ(sweep.runs[0].spec.train.optimizer.name, OptimizerName::adam);
  EXPECT_EQ(sweep.runs[0].spec.train.optimizer.lr, 1e-3);
  EXPECT_EQ(sweep.runs[0].spec.data.root, "/some/where");
  EXPECT_EQ(sweep.runs[2].spec.method.bits, 5);
  EXPECT_EQ(sweep.runs[5].spec.method.lambda, 2.5);
}

TEST(Overrides, AreCheckedLikeTheFile) {
  EXPECT_EQ(refusal(kText, {"benchmarks.0.train.epoch=7"}),
            "s.json: benchmarks[0].train.epoch: unknown key; did you mean \"epochs\"?");
  EXPECT_EQ(refusal(kText, {"benchmarks.0.train.epochs=many"}),
            "s.json: benchmarks[0].train.epochs: must be a whole number of at least 1, not \"many\"");
  EXPECT_EQ(refusal(kText, {"sweep="}), "s.json: sweep: must not be empty");
}

TEST(Overrides, ErrorsNameTheSetting) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"benchmarks.0.train.epochs", "--set benchmarks.0.train.epochs: has no '='; write --set key.key=value"},
      {"a\nb.c", "--set a?b.c: has no '='; write --set key.key=value"},
      {"=3", "--set : has an empty key; write --set key.key=value"},
      {"benchmarks..train=3",
       "--set benchmarks..train: benchmarks: has an empty key; write --set key.key=value"},
      {"benchmarks.0.train.schedule.name=step",
       "--set benchmarks.0.train.schedule.name: benchmarks[0].train.schedule: is not there; set it as a "
       "whole, as "
       "benchmarks.0.train.schedule={...}"},
      {"benchmarks.1.train.epochs=3",
       "--set benchmarks.1.train.epochs: benchmarks: is a list of 1; \"1\" must be an index from 0 to 0"},
      {"benchmarks.0.methods.-1.bits=3",
       "--set benchmarks.0.methods.-1.bits: benchmarks[0].methods: is a list of 4; \"-1\" must be an index "
       "from 0 to 3"},
      {"benchmarks.first.seeds=3",
       "--set benchmarks.first.seeds: benchmarks: is a list of 1; \"first\" must be an index from 0 to 0"},
      {"benchmarks.0.train.epochs.x=3",
       "--set benchmarks.0.train.epochs.x: benchmarks[0].train.epochs: is 3, which has no \"x\""},
      {"sweep=\xff", "--set: the setting holds bytes that are not UTF-8; write it in UTF-8"},
  };
  for (const auto& [setting, message] : cases) EXPECT_EQ(refusal(kText, {setting}), message);
}

TEST(Overrides, WhatLooksLikeJsonMustBeJson) {
  const std::vector<std::string> starts{"{", "[1, 2", "\"open", "1x", "-"};
  for (const std::string& value : starts) {
    const std::string message = refusal(kText, {"benchmarks.0.data.root=" + value});
    EXPECT_EQ(message.find("--set benchmarks.0.data.root: line 1, column "), 0u) << message;
    EXPECT_NE(message.find("; put quotes around it if it is a string"), std::string::npos) << message;
  }
  EXPECT_EQ(refusal(kText, {R"(benchmarks.0.train={"epochs": 1, "epochs": 2})"}),
            "--set benchmarks.0.train: epochs: duplicate key; keep one of the two; put quotes around it if "
            "it is a string");
}

std::vector<size_t> only(const std::string& text) { return select_runs(read_text(kText), text); }

std::string only_refusal(const std::string& text) {
  try {
    only(text);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

// In a seed: 0 fp32, 1 ptq, 2-3 qat, 4-7 diffq (λ 0.5 g 4, λ 0.5 g 8, λ 1 g 4, λ 1 g 8); seed 2 from 8.
TEST(Only, KeepsWhatItSays) {
  using Indices = std::vector<size_t>;
  EXPECT_EQ(only("method=qat"), (Indices{2, 3, 10, 11}));
  EXPECT_EQ(only("method=qat,seed=2"), (Indices{10, 11}));
  EXPECT_EQ(only("bits=2"), (Indices{2, 10}));
  EXPECT_EQ(only("lambda=1,seed=1"), (Indices{6, 7}));
  EXPECT_EQ(only("lambda=1.00,seed=1e0"), (Indices{6, 7}));
  EXPECT_EQ(only("lambda=5e-1,group_size=4"), (Indices{4, 12}));
  EXPECT_EQ(only("dataset=mnist,model=small_cnn").size(), 16u);
}

TEST(Only, KeepsWhatTheKeptStartFrom) { EXPECT_EQ(only("method=ptq,seed=2"), (std::vector<size_t>{8, 9})); }

TEST(Only, Errors) {
  EXPECT_EQ(only_refusal("metod=qat"),
            "--only: metod: unknown field; did you mean \"method\"? The fields are bits, dataset, "
            "group_size, lambda, method, "
            "model, seed, target_mb");
  EXPECT_EQ(
      only_refusal("method=qad"),
      "--only: method: unknown word \"qad\"; did you mean \"qat\"? The words are fp32, ptq, qat, lsq, diffq");
  EXPECT_EQ(only_refusal("seed=one"), "--only: seed: must be a number, not \"one\"");
  EXPECT_EQ(only_refusal("seed="), "--only: seed: must be a number, not \"\"");
  EXPECT_EQ(only_refusal("seed"), "--only: seed: has no '='; write --only field=value,field=value");
  EXPECT_EQ(only_refusal(""), "--only: has no '='; write --only field=value,field=value");
  EXPECT_EQ(only_refusal("method=lsq"),
            "--only method=lsq: none of the 16 runs is like that; see diffq plan");
  EXPECT_EQ(only_refusal("seed=1,seed=2"),
            "--only seed=1,seed=2: none of the 16 runs is like that; see diffq plan");
}

}  // namespace
}  // namespace diffq
