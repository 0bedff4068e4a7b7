// The language task: sizes, closed forms, ranks. tests/reference/language_model.py compares loss, gradients
// and perplexity with a second implementation.

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <numeric>
#include <set>

#include "tests/support/idx_files.h"
#include "tests/support/language_models.h"
#include "tests/support/thread_communicator.h"
#include "tests/trainer/training_rig.h"
#include "trainer/evaluate.h"
#include "trainer/model_file.h"
#include "trainer/models/language_models.h"

namespace diffq {
namespace {

// Of the formulas of the paper, with tied embeddings and projections.
int64_t parameters_of(const TransformerSpec& spec, int64_t vocabulary) {
  std::vector<int64_t> ends = spec.cutoffs;
  ends.push_back(vocabulary);
  int64_t count = 0, begin = 0, width = spec.dim;
  for (const int64_t end : ends) {
    count += (end - begin) * width + spec.dim * width;  // embeddings and their projection
    begin = end;
    width /= spec.factor;
  }
  count += static_cast<int64_t>(spec.cutoffs.size()) * spec.dim;  // classes of the head
  const int64_t attention = 4 * (spec.dim * spec.dim + spec.dim);
  const int64_t feed_forward = 2 * spec.dim * spec.ffn + spec.ffn + spec.dim;
  const int64_t norms = 4 * spec.dim;
  return count + spec.layers * (attention + feed_forward + norms);
}

std::shared_ptr<LanguageModel> model_of(const TransformerSpec& spec, int64_t vocabulary) {
  return make_transformer_lm({.name = ModelName::transformer_lm, .transformer = spec}, {vocabulary, 8});
}

// The formula is checked on small models that differ in everything; at full size it gives the published
// counts (16 layers, and 8 of them: fairseq's README of layer drop), without 1 GB of weights.
TEST(TransformerLm, ParametersAreThePublishedNumber) {
  const std::vector<std::pair<TransformerSpec, int64_t>> small{
      {{.layers = 1, .dim = 8, .ffn = 12, .heads = 2, .cutoffs = {}, .factor = 4}, 30},
      {{.layers = 2, .dim = 16, .ffn = 20, .heads = 4, .cutoffs = {7}, .factor = 4}, 31},
      {{.layers = 3, .dim = 32, .ffn = 8, .heads = 1, .cutoffs = {5, 9, 11}, .factor = 2}, 12},
  };
  for (const auto& [spec, vocabulary] : small) {
    const auto model = model_of(spec, vocabulary);
    auto quantizer = make_quantizer({}, {});
    const ParameterStore store(*model, *quantizer);
    int64_t count = 0;
    for (const auto& entry : store.entries()) count += entry.numel;
    EXPECT_EQ(count, parameters_of(spec, vocabulary));
  }
  TransformerSpec full;
  EXPECT_EQ(parameters_of(full, 267'744), 246'933'504);
  EXPECT_EQ(parameters_of(full, 267'735), 246'932'928);
  full.layers = 8;
  EXPECT_EQ(parameters_of(full, 267'744), 146'163'712);
}

class LanguageTest : public ::testing::Test {
 protected:
  LanguageTest() : spec_(tiny_language_spec(folder_.path())) {
    write_tiny_texts(folder_.path());
    data_ = open_data(spec_.data);
  }

  std::shared_ptr<Task> make() const {
    const std::lock_guard lock(generator_mutex());
    return make_task(spec_, data_.shape);
  }
  int64_t vocabulary() const { return std::get<TextShape>(data_.shape).vocabulary; }
  Batch first_batch() const {
    const std::vector<int64_t> samples{0, 1, 2, 3};
    return data_.train->batch(samples, {});
  }
  double perplexity(Task& task, Communicator& communicator) const {
    return task.metric(evaluate(task, *data_.test, spec_.eval, 1, communicator));
  }

  TemporaryFolder folder_;
  RunSpec spec_;
  DataSplits data_;
};

TEST_F(LanguageTest, TiedTensorsAreHeldQuantisedAndPackedOnce) {
  spec_.method.method = Method::qat;
  spec_.method.bits = 3;
  const auto task = make();
  const auto quantizer = make_quantizer(spec_.method, spec_.quant);
  ParameterStore store(task->module(), *quantizer);
  std::multiset<std::string> aliases;
  int64_t count = 0;
  for (const auto& entry : store.entries()) {
    aliases.insert(entry.aliases.begin(), entry.aliases.end());
    count += entry.numel;
  }
  EXPECT_EQ(aliases,
            (std::multiset<std::string>{
                "decoder.adaptive_softmax.head.word_proj.weight", "decoder.adaptive_softmax.tail.0.0.weight",
                "decoder.adaptive_softmax.tail.0.2.weight", "decoder.adaptive_softmax.tail.1.0.weight",
                "decoder.adaptive_softmax.tail.1.2.weight"}));
  EXPECT_EQ(count, parameters_of(spec_.model.transformer, vocabulary()));
  const double bits = 3.0 * static_cast<double>(count) + 64.0 * static_cast<double>(store.entries().size());
  EXPECT_NEAR(quantizer->size_mb(), bits / 8 / (1 << 20), 1e-12);

  // The file alone gives the same model.
  quantizer->materialize_rounded();
  const double expected = perplexity(*task, *single_rank());
  const auto path = folder_.path() / "model.safetensors";
  write_model(path, pack_model(store, *quantizer, Coding::bits, "{}"));
  EXPECT_EQ(PackedModel::read(path).aliases().size(), 5u);
  spec_.seed = 99;
  const auto other = make();
  EXPECT_NE(perplexity(*other, *single_rank()), expected);
  load_module(PackedModel::read(path), other->module());
  EXPECT_EQ(perplexity(*other, *single_rank()), expected);
}

TEST_F(LanguageTest, AUniformModelHasThePerplexityOfItsVocabulary) {
  torch::NoGradGuard no_grad;
  spec_.model.transformer.cutoffs = {};
  const auto task = make();
  for (const auto& parameter : task->module().parameters()) parameter.zero_();
  const double expected = static_cast<double>(vocabulary());
  EXPECT_NEAR(perplexity(*task, *single_rank()) / expected, 1, 1e-6);
}

// All weights zero: each entry of the head is as likely as any other, and each token in its band.
TEST_F(LanguageTest, AUniformAdaptiveModelHasTheClosedForm) {
  torch::NoGradGuard no_grad;
  const auto task = make();
  for (const auto& parameter : task->module().parameters()) parameter.zero_();
  double sum = 0, count = 0;
  for (int64_t sample = 0; sample < data_.test->size(); ++sample) {
    const Batch batch = data_.test->batch({&sample, 1}, {});
    for (int64_t i = 0; i < batch.target.size(1); ++i) {
      const int64_t target = batch.target[0][i].item<int64_t>();
      if (target == kNoTarget) continue;
      const int64_t band = target < 10 ? 1 : target < 24 ? 14 : vocabulary() - 24;
      sum += std::log(12.0 * static_cast<double>(band));
      ++count;
    }
  }
  EXPECT_EQ(count, 75);
  EXPECT_NEAR(perplexity(*task, *single_rank()) / std::exp(sum / count), 1, 1e-6);
}

TEST_F(LanguageTest, PerplexityIsTheSameOnAnyNumberOfRanksAndAnyBatch) {
  const double alone = perplexity(*make(), *single_rank());
  for (const int ranks : {2, 4, 30}) {  // 30: more than there are blocks
    run_as_ranks(ranks, [&](Communicator& communicator) {
      const auto task = make();
      EXPECT_NEAR(perplexity(*task, communicator) / alone, 1, 1e-6) << ranks;
    });
  }
  spec_.eval.batch_size = 3;
  EXPECT_NEAR(perplexity(*make(), *single_rank()) / alone, 1, 1e-6);
}

TEST_F(LanguageTest, NoPlaceSeesWhatComesAfterIt) {
  torch::NoGradGuard no_grad;
  const auto task = make();
  task->module().eval();
  Batch batch = first_batch();
  batch.target.slice(1, 5).fill_(kNoTarget);
  const double before = task->evaluate(batch).loss;
  batch.input.slice(1, 5).fill_(1);
  EXPECT_EQ(task->evaluate(batch).loss, before);
  batch.input.select(1, 4).fill_(1);
  EXPECT_NE(task->evaluate(batch).loss, before);
}

// A step of 1 x 8 and of 2 x 4 samples: the same losses and, but for rounding, the same weights.
TEST_F(LanguageTest, TwoRanksTrainAsOne) {
  spec_.train.batch_size = 8;
  spec_.method.method = Method::diffq;
  spec_.method.lambda = 0.1;
  spec_.method.bits_lr = 0.05;
  spec_.method.rank_noise = RankNoise::shared;
  spec_.model.transformer.layer_drop = 0.4;  // the same layers on all ranks
  const auto losses = [&](Communicator& communicator) {
    TrainingRig rig(spec_, data_, communicator, {.task = make()});
    std::vector<double> found;
    for (int64_t step = 0; step < 6; ++step) found.push_back(rig.step(step).loss);
    return found;
  };
  const std::vector<double> alone = losses(*single_rank());
  EXPECT_LT(alone.back(), alone.front());
  run_as_ranks(2, [&](Communicator& communicator) {
    const std::vector<double> together = losses(communicator);
    for (size_t i = 0; i < alone.size(); ++i) EXPECT_NEAR(together[i] / alone[i], 1, 1e-4) << i;
  });
}

TEST_F(LanguageTest, LayerDropLeavesOutWholeLayersAtItsRate) {
  spec_.model.transformer.layers = 4;
  spec_.model.transformer.layer_drop = 0.3;
  const auto task = make();
  task->module().train();
  const Batch batch = first_batch();
  const auto dropped = [&](uint64_t seed) {
    task->module().zero_grad();
    task->begin_step(seed);
    task->loss(batch).backward();
    std::vector<bool> layers;
    for (int i = 0; i < 4; ++i) {
      const auto name = "decoder.layers." + std::to_string(i) + ".fc1.weight";
      const at::Tensor gradient = task->module().named_parameters()[name].grad();
      layers.push_back(!gradient.defined() || gradient.abs().max().item<double>() == 0);
    }
    return layers;
  };
  int left_out = 0;
  std::set<std::vector<bool>> choices;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const auto layers = dropped(seed);
    choices.insert(layers);
    left_out += static_cast<int>(std::ranges::count(layers, true));
  }
  EXPECT_NEAR(left_out / 800.0, 0.3, 4 * std::sqrt(0.3 * 0.7 / 800));
  EXPECT_EQ(choices.size(), 16u) << "each on its own";
  EXPECT_EQ(dropped(7), dropped(7));

  // Evaluation has all layers.
  torch::NoGradGuard no_grad;
  task->module().eval();
  const double loss = task->evaluate(batch).loss;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    task->begin_step(seed);
    EXPECT_EQ(task->evaluate(batch).loss, loss);
  }
}

TEST_F(LanguageTest, DropoutIsForTrainingAlone) {
  spec_.model.rates.dropout = 0.5;
  const auto task = make();
  const Batch batch = first_batch();
  task->module().train();
  EXPECT_NE(task->loss(batch).item<double>(), task->loss(batch).item<double>());
  task->module().eval();
  torch::NoGradGuard no_grad;
  EXPECT_EQ(task->loss(batch).item<double>(), task->loss(batch).item<double>());
}

TEST_F(LanguageTest, WhatTheModelCantTake) {
  const auto refusal = [](const std::function<void()>& work) -> std::string {
    try {
      work();
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  spec_.model.transformer.cutoffs = {10, 500};
  EXPECT_EQ(refusal([&] { make(); }),
            "model.cutoffs: the last, 500, must be below the vocabulary of the data, " +
                std::to_string(vocabulary()) + "; [] is one softmax over all");
  EXPECT_NE(refusal([&] { make_task(spec_, kSmallShape); }), "");
  EXPECT_NE(refusal([&] { make_task({}, data_.shape); }), "");
}

}  // namespace
}  // namespace diffq
