#pragma once
// mixup (arXiv:1710.09412) and cutmix (arXiv:1905.04899): neighbours in the batch, samples 2j and 2j + 1, are
// mixed with each other, and so are their targets. Each pair has its own draw, a function of (seed, epoch,
// place in the epoch's order) alone: the same for any number of ranks and micro-batches as long as none of
// them cuts a pair in two.

#include "datasets/dataset.h"
#include "trainer/run_spec.h"

namespace diffq {

/// What a pair does: each of the two keeps `share` of itself. Cutmix takes rows [top, bottom) and columns
/// [left, right) from the other; their area is 1 - share of the picture. Mixup has no rows.
struct PairMix {
  double share = 1;
  bool cut = false;
  int64_t top = 0, bottom = 0, left = 0, right = 0;
};

/// The draw of one pair, for pictures of height x width. With both alphas above 0 either is as likely.
PairMix draw_pair_mix(const MixSpec& spec, int64_t height, int64_t width, uint64_t seed, int64_t epoch,
                      int64_t pair);

/// Mixes a batch of an even number of pictures; `first_place`: of its first sample in the epoch's order,
/// even. The targets become probabilities, float32 [samples, classes]. A batch is left as it is when both
/// alphas are 0.
Batch mix_batch(Batch batch, int64_t classes, const MixSpec& spec, uint64_t seed, int64_t epoch,
                int64_t first_place);

}  // namespace diffq
