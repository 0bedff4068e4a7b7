#pragma once
// DiffQ's clipped ranges: the ends of least expected error in place of the extremes, and gradients of what is
// beyond them. clip.h has the method; one block a tensor is enough for a sample of it.

#include "quant/clip_formula.h"
#include "quant/device_bodies.h"

namespace diffq {
namespace {

struct ClipEnds {
  ModelTable table;
  GroupMap map;
  const uint8_t* widths;  ///< one a group of the model; null: the real bits

  struct Shared {
    double below[kBlockThreads], above[kBlockThreads], sum_below[kBlockThreads], sum_above[kBlockThreads];
    double rounding, low, high;
    bool done;
  };
  DIFFQ_INLINE void operator()(const Block& block, int64_t index, Shared& shared) const {
    const Segment segment = table.segments[index];
    const Ends all(table.extremes, static_cast<int32_t>(index));
    if (!(all.range() > 0)) return;
    const ClipSample sample(segment.numel);
    sum_error_scales(block, segment, shared);
    block.threads([&](int thread) {
      double sum = 0;
      for (int64_t i = thread; i < sample.count; i += kBlockThreads)
        sum += static_cast<double>(load_constant(segment.master + i * sample.stride));
      shared.sum_below[thread] = sum;
    });
    join_threads(block, shared.sum_below, Add{});
    block.threads([&](int thread) {
      if (thread != 0) return;
      const double mean_square = shared.below[0] / static_cast<double>(segment.numel);
      shared.rounding = mean_square * static_cast<double>(sample.count) / 12;
      shared.low = shared.high = shared.sum_below[0] / static_cast<double>(sample.count);
      shared.done = false;
    });
    for (int step = 0; step < kClipSteps && !shared.done; ++step) {
      sum_clipped(block, segment, sample, shared);
      block.threads([&](int thread) {
        if (thread != 0) return;
        const ClipSums sums{shared.below[0], shared.above[0], shared.sum_below[0], shared.sum_above[0]};
        shared.done = sums.below + sums.above == 0;
        if (!shared.done) solve_clip(shared.rounding, sums, shared.low, shared.high);
      });
    }
    block.threads([&](int thread) {
      const float low = static_cast<float>(shared.low), high = static_cast<float>(shared.high);
      const float inner_low = low > all.low ? low : all.low, inner_high = high < all.high ? high : all.high;
      if (thread != 0 || !(inner_high - inner_low > 0)) return;
      table.extremes[2 * index] = ordered_bits(inner_low);
      table.extremes[2 * index + 1] = ordered_bits(inner_high);
    });
  }

  /// below[0]: Σ scale² over the weights.
  DIFFQ_INLINE void sum_error_scales(const Block& block, const Segment& segment, Shared& shared) const {
    block.threads([&](int thread) {
      double sum = 0;
      for (int64_t group = thread; group < segment.groups; group += kBlockThreads) {
        float scale, slope;
        if (widths == nullptr) {
          group_scale(map, segment.own[group], scale, slope);
        } else {
          scale = 1 / Grid::top_of(widths[segment.first_group + group]);
        }
        const int64_t left = segment.numel - group * segment.group_size;
        const double entries = static_cast<double>(left < segment.group_size ? left : segment.group_size);
        sum += static_cast<double>(scale) * static_cast<double>(scale) * entries;
      }
      shared.below[thread] = sum;
    });
    join_threads(block, shared.below, Add{});
  }

  DIFFQ_INLINE void sum_clipped(const Block& block, const Segment& segment, const ClipSample& sample,
                                Shared& shared) const {
    block.threads([&](int thread) {
      const float low = static_cast<float>(shared.low), high = static_cast<float>(shared.high);
      ClipSums sums{};
      for (int64_t i = thread; i < sample.count; i += kBlockThreads) {
        const float weight = load_constant(segment.master + i * sample.stride);
        if (weight < low) {
          sums.below += 1;
          sums.sum_below += static_cast<double>(weight);
        }
        if (weight > high) {
          sums.above += 1;
          sums.sum_above += static_cast<double>(weight);
        }
      }
      shared.below[thread] = sums.below;
      shared.above[thread] = sums.above;
      shared.sum_below[thread] = sums.sum_below;
      shared.sum_above[thread] = sums.sum_above;
    });
    join_threads(block, shared.below, Add{});
    join_threads(block, shared.above, Add{});
    join_threads(block, shared.sum_below, Add{});
    join_threads(block, shared.sum_above, Add{});
  }
};

/// A clipped weight has no say in what the model sees.
struct MaskClipped {
  ModelTable table;
  int32_t first_chunk;

  using Shared = NoShared;
  DIFFQ_INLINE void operator()(const Block& block, int64_t index, Shared&) const {
    const Stretch chunk = table.chunks[first_chunk + index];
    const Segment segment = table.segments[chunk.segment];
    const Ends ends(table.extremes, chunk.segment);
    for_entries(block, chunk, [&](int64_t i) {
      const float weight = load_constant(segment.master + i);
      if (weight < ends.low || weight > ends.high) segment.gradient[i] = 0;
    });
  }
};

}  // namespace
}  // namespace diffq
