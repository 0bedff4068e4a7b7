#pragma once
// A language model and texts of a size for tests.

#include <filesystem>

#include "datasets/dataset.h"
#include "tests/support/text_files.h"
#include "trainer/run_spec.h"

namespace diffq {

/// Three bands of tokens, nothing dropped, blocks of 8 with 3 tokens of context, batches of 4.
inline RunSpec tiny_language_spec(const std::filesystem::path& folder) {
  RunSpec spec;
  spec.data.name = DataName::text;
  spec.data.root = folder.string();
  spec.data.text.block = 8;
  spec.data.text.context = 3;
  spec.model.name = ModelName::transformer_lm;
  spec.model.rates.dropout = 0;
  spec.model.transformer = {.layers = 2,
                            .dim = 16,
                            .ffn = 24,
                            .heads = 2,
                            .cutoffs = {10, 24},
                            .factor = 2,
                            .attention_dropout = 0,
                            .activation_dropout = 0,
                            .softmax_dropout = 0};
  spec.train.batch_size = 4;
  spec.train.optimizer = {.name = OptimizerName::nag, .lr = 0.05, .momentum = 0.9};
  spec.quant.min_size_mb = 0;
  spec.seed = 3;
  return spec;
}

/// 100 blocks to train on.
inline void write_tiny_texts(const std::filesystem::path& folder) {
  write_texts(folder, some_words(800, 40, 1), some_words(70, 44, 2), some_words(75, 44, 3));
}

}  // namespace diffq
