#pragma once
// The kernels that round: to a grid over the range (QAT, and DiffQ as evaluated), and to a learned scale
// (LSQ).

#include "quant/device_bodies.h"

namespace diffq {
namespace {

struct Round {
  ModelTable table;
  const uint8_t* widths;
  int bits;

  using Shared = NoShared;
  DIFFQ_INLINE void operator()(const Block& block, int64_t index, Shared&) const {
    const Stretch chunk = table.chunks[index];
    const Segment segment = table.segments[chunk.segment];
    const Ends ends(table.extremes, chunk.segment);
    for_entries(block, chunk, [&](int64_t i) {
      const int width = widths == nullptr ? bits : widths[segment.first_group + group_of(segment, i)];
      const Grid grid{ends.low, ends.high, Grid::top_of(width)};
      const float weight = segment.master[i];
      store_compute(table, segment, i, grid.is_point() ? weight : grid.round(weight));
    });
  }
};

struct Copy {
  ModelTable table;

  using Shared = NoShared;
  DIFFQ_INLINE void operator()(const Block& block, int64_t index, Shared&) const {
    copy_chunk(block, table, table.chunks[index]);
  }
};

struct RoundToScale {
  ModelTable table;
  ScaleLevels levels;

  using Shared = NoShared;
  DIFFQ_INLINE void operator()(const Block& block, int64_t index, Shared&) const {
    const Stretch chunk = table.chunks[index];
    const Segment segment = table.segments[chunk.segment];
    const float scale = *segment.own;
    for_entries(block, chunk, [&](int64_t i) {
      store_compute(table, segment, i, round_half_even(levels.clamped(segment.master[i] / scale)) * scale);
    });
  }
};

/// Gradients of clipped entries become 0; leaves the chunk's Σ gradient * ∂w̃/∂scale.
struct PullBackScale {
  ModelTable table;
  ScaleLevels levels;
  int32_t first_chunk;

  struct Shared {
    double sums[kBlockThreads];
  };
  DIFFQ_INLINE void operator()(const Block& block, int64_t index, Shared& shared) const {
    const Stretch chunk = table.chunks[first_chunk + index];
    const Segment segment = table.segments[chunk.segment];
    const float scale = *segment.own;
    block.threads([&](int thread) {
      double sum = 0;
      for (int i = thread; i < chunk.count; i += kBlockThreads) {
        const float u = segment.master[chunk.begin + i] / scale;
        float& gradient = segment.gradient[chunk.begin + i];
        sum += static_cast<double>(gradient) * static_cast<double>(levels.scale_slope(u));
        if (levels.inside(u) == 0) gradient = 0;
      }
      shared.sums[thread] = sum;
    });
    join_threads(block, shared.sums, Add{});
    block.threads([&](int thread) {
      if (thread == 0) table.sums[segment.first_sum + chunk.begin / kChunkEntries] = shared.sums[0];
    });
  }
};

/// A segment a block.
struct FinishScale {
  ModelTable table;
  ScaleLevels levels;
  int32_t first_segment;

  struct Shared {
    double sums[kBlockThreads];
  };
  DIFFQ_INLINE void operator()(const Block& block, int64_t index, Shared& shared) const {
    const Segment segment = table.segments[first_segment + index];
    block.threads([&](int thread) {
      double sum = 0;
      for (int k = thread; k < segment.sum_count; k += kBlockThreads)
        sum += table.sums[segment.first_sum + k];
      shared.sums[thread] = sum;
    });
    join_threads(block, shared.sums, Add{});
    block.threads([&](int thread) {
      if (thread == 0)
        *segment.own_gradient = static_cast<float>(shared.sums[0] * levels.gradient_part(segment.numel));
    });
  }
};

struct LimitScales {
  ModelTable table;
  float least;

  using Shared = NoShared;
  DIFFQ_INLINE void operator()(const Block& block, int64_t index, Shared&) const {
    block.threads([&](int thread) {
      const int64_t segment = index * kBlockThreads + thread;
      if (segment >= table.segment_count) return;
      float& scale = *table.segments[segment].own;
      if (scale < least) scale = least;
    });
  }
};

}  // namespace
}  // namespace diffq
