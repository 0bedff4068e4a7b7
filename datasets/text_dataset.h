#pragma once
// Blocks of consecutive tokens as samples.

#include "datasets/dataset.h"
#include "datasets/token_file.h"

namespace diffq {

/// Every token is the target of one place, the first one after the end of a line (which nothing stands for).
class TextDataset : public Dataset {
 public:
  /// `stride`: block k begins at token k * stride; those of its tokens that the block before has seen don't
  /// count. With `whole` only blocks that are full are samples; else the last one is filled up with places
  /// that don't count, so that each token counts once.
  TextDataset(TokenParts tokens, size_t part, int64_t block, int64_t stride, bool whole);

  int64_t size() const override { return blocks_; }
  /// Only the first so many blocks.
  void limit(int64_t blocks) { blocks_ = blocks; }
  Batch batch(std::span<const int64_t> samples, const std::optional<AugmentKey>& augment) const override;

 private:
  void read(int64_t sample, int64_t* input, int64_t* target) const;

  TokenParts tokens_;
  std::span<const int32_t> part_;
  int64_t block_, stride_, blocks_;
};

}  // namespace diffq
