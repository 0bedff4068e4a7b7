#include "quant/pieces.h"

#include <algorithm>
#include <limits>

namespace diffq {

PieceSpan cut_pieces(size_t tensor, int64_t numel, int64_t group_size, std::vector<Piece>& pieces) {
  PieceSpan span{pieces.size(), pieces.size()};
  const int64_t group = std::min(group_size, std::max<int64_t>(numel, 1));
  // A stretch is what must not share a piece with its neighbours: many short groups, or one long one.
  const int64_t stretch = group <= kPieceEntries ? kPieceEntries / group * group : group;
  for (int64_t start = 0; start < numel; start += stretch) {
    const int64_t stop = std::min(start + stretch, numel);
    for (int64_t begin = start; begin < stop; begin += kPieceEntries) {
      pieces.push_back({tensor, begin, std::min(begin + kPieceEntries, stop)});
    }
  }
  span.last = pieces.size();
  return span;
}

Extremes join_extremes(std::span<const Extremes> parts) {
  Extremes all{std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()};
  for (const Extremes& part : parts) {
    all.min = std::min(all.min, part.min);
    all.max = std::max(all.max, part.max);
  }
  return {all.min + 0.0f, all.max + 0.0f};
}

}  // namespace diffq
