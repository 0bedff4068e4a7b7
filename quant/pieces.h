#pragma once
// Work is cut into pieces of tensors whose edges depend on the tensors alone, so that what is summed, and in
// which order, is the same for any number of threads.

#include <ATen/Parallel.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "quant/extremes.h"

namespace diffq {

/// The most entries of a piece; small enough for its scratch memory to stay in the nearest caches.
inline constexpr int64_t kPieceEntries = 16384;

/// Entries [begin, end) of one tensor: either whole groups, or a part of one group that is longer than a
/// piece.
struct Piece {
  size_t tensor = 0;
  int64_t begin = 0;
  int64_t end = 0;
};

/// Which pieces are those of a tensor: [first, last) of the list.
struct PieceSpan {
  size_t first = 0;
  size_t last = 0;
};

/// Appends the pieces of a tensor of `numel` entries in groups of `group_size` (at least 1).
PieceSpan cut_pieces(size_t tensor, int64_t numel, int64_t group_size, std::vector<Piece>& pieces);

/// Extremes of a list of parts' extremes; -0 is made 0, so that equal ranges have equal bits.
Extremes join_extremes(std::span<const Extremes> parts);

/// Calls work(i) for i in [0, count) on ATen's threads.
template <class Work>
void for_each_piece(size_t count, const Work& work) {
  at::parallel_for(0, static_cast<int64_t>(count), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) work(static_cast<size_t>(i));
  });
}

}  // namespace diffq
