// What can be wrong with text, its model, and what came with them, with the whole message.

#include "tests/sweeps/sweep_text.h"

namespace diffq {
namespace {

const std::string kB = "benchmarks[0]";

std::string train(const std::string& keys) {
  return with_methods(R"({"method": "fp32"})", ", \"train\": {" + keys + "}");
}

std::string text(const std::string& data_keys, const std::string& model_keys = "") {
  return R"({"sweep": "s", "benchmarks": [{"data": {"name": "text", "root": "d")" + data_keys +
         R"(}, "model": {"name": "transformer_lm")" + model_keys + R"(}, "methods": [{"method": "fp32"}]}]})";
}

TEST(SweepErrors, TextAndItsModel) {
  const std::string d = kB + ".data", m = kB + ".model";
  EXPECT_EQ(refusal(text(R"(, "unit": "char", "vocabulary": 300, "block": 128, "context": 64)",
                         R"(, "layers": 2, "dim": 64, "cutoffs": [])")),
            "");
  expect_refused({
      {text(R"(, "unit": "letter")"),
       d + R"(.unit: unknown word "letter"; did you mean "char"? The words are word, char)"},
      {text(R"(, "block": 0)"), d + ".block: must be a whole number from 1 to 1048576, not 0"},
      {text(R"(, "block": 64, "context": 64)"), d + ".context: must be below block (64), not 64"},
      {text(R"(, "unit": "char", "line_ends": true)"),
       d + ".line_ends: is for words; among characters the end of a line is one anyway"},
      {text(R"(, "valid_samples": 5)"),
       d + ".valid_samples: text has no valid_samples; its keys are name, root, train_samples, test_samples, "
           "unit, vocabulary, line_ends, block, context, workers"},
      {text("", R"(, "dim": 100, "heads": 8)"),
       m + ".dim: must be even and a multiple of heads (8), not 100"},
      {text("", R"(, "cutoffs": 3)"), m + ".cutoffs: must be a list of whole numbers, not 3"},
      {text("", R"(, "cutoffs": [0])"), m + ".cutoffs[0]: must be a whole number of at least 1, not 0"},
      {text("", R"(, "cutoffs": [20, 20])"), m + ".cutoffs[1]: must be above the one before (20), not 20"},
      {text("", R"(, "dim": 16, "cutoffs": [1, 2, 3], "factor": 4)"),
       m + ".cutoffs: are so many that 16 divided by factor (4) for each leaves less than 1"},
      {text("", R"(, "layer_drop": 1)"),
       m + ".layer_drop: must be a number of at least 0 and below 1, not 1"},
      {train(R"("schedule": {"name": "cosine_restarts"})"),
       kB + ".train.schedule.period_steps: is missing; it has no default"},
      {train(R"("schedule": {"name": "cosine_restarts", "period_steps": 9, "warmup_epochs": 1})"),
       kB + ".train.schedule.warmup_epochs: cosine_restarts has no warmup_epochs; its keys are name, "
            "warmup_steps, period_steps, shrink"},
      {train(R"("optimizer": {"name": "nag", "nesterov": true})"),
       kB + ".train.optimizer.nesterov: nag has no nesterov; its keys are name, lr, weight_decay, momentum"},
  });
}

TEST(SweepErrors, DataAndModelAreForTheSameBenchmark) {
  const auto both = [](const std::string& data_name, const std::string& model_name) {
    return R"({"sweep": "s", "benchmarks": [{"data": {"name": ")" + data_name +
           R"(", "root": "d"}, "model": {"name": ")" + model_name +
           R"("}, "methods": [{"method": "fp32"}]}]})";
  };
  const std::string model = kB + ".model.name: ";
  const std::string images =
      "small_cnn, resnet20, resnet18, mobilenet, wide_resnet28_10, cifar_vit, deit_tiny, deit_small, "
      "deit_base, efficientnet_b3";
  expect_refused({
      {both("mnist", "transformer_lm"),
       model +
           "transformer_lm is a model for the benchmark language, but data.name, mnist, is for image; "
           "models for it are " +
           images + ", data for the model is wikitext103, text"},
      {both("wikitext103", "resnet18"),
       model +
           "resnet18 is a model for the benchmark image, but data.name, wikitext103, is for language; "
           "models for it are transformer_lm, data for the model is mnist, idx, cifar10, cifar100, imagenet"},
  });
  EXPECT_EQ(refusal(both("wikitext103", "transformer_lm")), "");
  EXPECT_EQ(refusal(both("cifar10", "small_cnn")), "");
}

}  // namespace
}  // namespace diffq
