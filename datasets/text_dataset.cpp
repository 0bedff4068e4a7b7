#include "datasets/text_dataset.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <utility>

#include "datasets/tokens.h"

namespace diffq {

TextDataset::TextDataset(TokenParts tokens, size_t part, int64_t block, int64_t stride, bool whole)
    : tokens_(std::move(tokens)), part_(tokens_.parts[part]), block_(block), stride_(stride) {
  const auto count = static_cast<int64_t>(part_.size());
  const int64_t after_first = std::max<int64_t>(0, count - block);
  if (whole) {
    blocks_ = count < block ? 0 : 1 + after_first / stride;
  } else {
    blocks_ = 1 + (after_first + stride - 1) / stride;
  }
}

Batch TextDataset::batch(std::span<const int64_t> samples, const std::optional<AugmentKey>&) const {
  const auto count = static_cast<int64_t>(samples.size());
  Batch batch{at::empty({count, block_}, at::kLong), at::empty({count, block_}, at::kLong)};
  for (int64_t i = 0; i < count; ++i) {
    read(samples[static_cast<size_t>(i)], batch.input.mutable_data_ptr<int64_t>() + i * block_,
         batch.target.mutable_data_ptr<int64_t>() + i * block_);
  }
  return batch;
}

void TextDataset::read(int64_t sample, int64_t* input, int64_t* target) const {
  const int64_t begin = sample * stride_;
  const int64_t there = std::min(block_, static_cast<int64_t>(part_.size()) - begin);
  const int64_t seen = sample == 0 ? 0 : block_ - stride_;
  const int32_t* tokens = part_.data() + begin;
  for (int64_t i = 0; i < there; ++i) {
    input[i] = begin + i == 0 ? kLineEnd : tokens[i - 1];
    target[i] = i < seen ? kNoTarget : tokens[i];
  }
  std::fill(input + there, input + block_, kLineEnd);
  std::fill(target + there, target + block_, kNoTarget);
}

}  // namespace diffq
