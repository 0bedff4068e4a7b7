#pragma once
// Which samples make up a batch. A pure function of (seed, epoch): the global batch t of an epoch is entries
// [tB, (t+1)B) of the epoch's permutation, rank r of N takes the r-th of N equal slices of it.

#include <cstdint>
#include <vector>

namespace diffq {

/// Permutation of 0 … count-1 for this epoch (Fisher-Yates on Philox; the same on every machine).
std::vector<int64_t> epoch_order(int64_t count, uint64_t seed, int64_t epoch);

/// The same with repeated augmentation (arXiv:1901.09335): as many draws, but each sample of the
/// permutation's beginning comes `repeats` times in a row, as its copies 0 ... repeats-1 (kCopyStride).
/// Within each batch all first copies go before all second ones, and so on: ranks share the copies of a
/// sample, and none of a sample's copies are neighbours.
std::vector<int64_t> repeated_order(int64_t count, uint64_t seed, int64_t epoch, int64_t repeats,
                                    int64_t batch_size);

/// Full batches in an epoch; the last partial one is dropped in training.
inline int64_t steps_per_epoch(int64_t count, int64_t batch_size) { return count / batch_size; }

/// Entries [begin, end) of rank `rank` out of `size` ranks, when each sample is to be seen exactly once:
/// lengths differ by at most one.
struct Slice {
  int64_t begin = 0, end = 0;
};
Slice rank_slice(int64_t count, int rank, int size);

}  // namespace diffq
