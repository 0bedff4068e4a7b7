#pragma once
// DiffQ's kernels: the noise, and the gradients of bits and range.

#include "quant/device_bodies.h"

namespace diffq {
namespace {

/// The noise of a thread's eight entries: entry_of(thread, 0)'s counter has that of all.
DIFFQ_INLINE void draw_entries(const NoiseLaw& law, uint32_t step, const Stretch& pass, int thread,
                               float (&noise)[8]) {
  const uint64_t counter = static_cast<uint64_t>(pass.begin) / 8 + static_cast<uint64_t>(thread);
  const PhiloxWords words = noise_words(law.keys, step, static_cast<uint32_t>(pass.segment), counter);
  if (law.kind == NoiseKind::uniform) {
    DIFFQ_UNROLL
    for (int k = 0; k < 4; ++k) uniform_pair(static_cast<I>(words.word[k]), noise[2 * k], noise[2 * k + 1]);
  } else {
    DIFFQ_UNROLL
    for (int k = 0; k < 4; ++k) gaussian_pair(static_cast<I>(words.word[k]), noise[2 * k], noise[2 * k + 1]);
  }
}

/// The noise of one entry: an eighth of the worth of a counter.
DIFFQ_INLINE float draw_entry(const NoiseLaw& law, uint32_t step, int32_t segment, int64_t i) {
  const PhiloxWords words = noise_words(law.keys, step, static_cast<uint32_t>(segment), noise_counter(i));
  const auto word = static_cast<I>(words.word[(i >> 5) & 3]);
  float first = 0, second = 0;
  if (law.kind == NoiseKind::uniform) {
    uniform_pair(word, first, second);
  } else {
    gaussian_pair(word, first, second);
  }
  return ((i >> 4) & 1) != 0 ? second : first;
}

/// A group's size as a constant: so what is worked out from it is too.
template <int kShift>
struct Shift {
  static constexpr int value = kShift;
};

/// Calls work(Shift<group_shift>).
template <class Work>
DIFFQ_INLINE void with_shift(int32_t group_shift, const Work& work) {
  switch (group_shift) {
    case 0:
      return work(Shift<0>{});
    case 1:
      return work(Shift<1>{});
    case 2:
      return work(Shift<2>{});
    case 3:
      return work(Shift<3>{});
    case 4:
      return work(Shift<4>{});
    case 5:
      return work(Shift<5>{});
    case 6:
      return work(Shift<6>{});
    default:
      return work(Shift<7>{});
  }
}

/// Of a thread's k-th entry: its group, counted from the pass's first. (entry_of(thread, k) >> shift, which
/// is the same since entry_of(thread, 0) % 128 < 16.)
DIFFQ_INLINE int local_group(int shift, int thread, int k) {
  return (entry_of(thread, 0) >> shift) + ((16 * k) >> shift);
}

/// kMostGroups: of a chunk. Where they are few, more blocks have room at once.
template <int kMostGroups>
struct AddNoise {
  ModelTable table;
  NoiseLaw law;

  static constexpr int kBlocksAtOnce = kMostGroups < kChunkEntries ? 8 : 6;
  struct Shared {
    float steps[kMostGroups];
  };
  DIFFQ_INLINE void operator()(const Block& block, int64_t index, Shared& shared) const {
    const Stretch chunk = table.chunks[index];
    const Segment segment = table.segments[chunk.segment];
    const Ends ends(table.extremes, chunk.segment);
    const float range = ends.range() * law.factor;
    if (!(range > 0)) {  // a constant tensor stays as it is
      copy_chunk(block, table, chunk);
      return;
    }
    if (!law.clips) note_ends(block, index, chunk, segment, ends);
    const int64_t first_group = group_of(segment, chunk.begin);
    const int groups = static_cast<int>(group_of(segment, chunk.begin + chunk.count - 1) - first_group) + 1;
    const uint32_t step = table.scalars->step;
    block.threads([&](int thread) {
      for (int group = thread; group < groups; group += kBlockThreads) {
        float scale, slope;
        group_scale(law.map, segment.own[first_group + group], scale, slope);
        shared.steps[group] = scale * range;
      }
    });
    block.threads([&](int thread) {
      if (segment.group_shift >= 0) {
        with_shift(segment.group_shift, [&](auto shift) {
          add_noise(chunk, segment, ends, step, thread, [&](int begin, int k) {
            return shared.steps[(begin >> shift.value) + local_group(shift.value, thread, k)];
          });
        });
      } else {
        const int size = within_chunk(segment.group_size);
        const int first = within_chunk((first_group + 1) * segment.group_size - chunk.begin);  // of the next
        add_noise(chunk, segment, ends, step, thread, [&](int begin, int k) {
          const int i = begin + entry_of(thread, k);
          return shared.steps[i < first ? 0 : 1 + (i - first) / size];
        });
      }
    });
  }

  static DIFFQ_INLINE int within_chunk(int64_t entries) {
    return static_cast<int>(entries < kChunkEntries ? entries : kChunkEntries);
  }

  /// step_of(begin, k): of the thread's k-th entry in the pass that begins there.
  template <class StepOf>
  DIFFQ_INLINE void add_noise(const Stretch& chunk, const Segment& segment, const Ends& ends, uint32_t step,
                              int thread, const StepOf& step_of) const {
    for (int begin = 0; begin < chunk.count; begin += kPassEntries) {
      const Stretch pass = pass_of(chunk, begin);
      float weights[8], noise[8];
      load_entries(segment.master, pass, thread, weights);
      draw_entries(law, step, pass, thread, noise);
      if (law.clips) {
        DIFFQ_UNROLL
        for (int k = 0; k < 8; ++k) {
          const float above = weights[k] < ends.low ? ends.low : weights[k];
          weights[k] = above > ends.high ? ends.high : above;
        }
      }
      DIFFQ_UNROLL
      for (int k = 0; k < 8; ++k) weights[k] = weights[k] + step_of(begin, k) * noise[k];
      store_entries(table, segment, pass, thread, weights);
    }
  }

  /// Where the extremes are, for FinishRange. Most chunks have none.
  DIFFQ_INLINE void note_ends(const Block& block, int64_t index, const Stretch& chunk, const Segment& segment,
                              const Ends& ends) const {
    const Ends own(table.chunk_extremes, index);
    if (own.low != ends.low && own.high != ends.high) return;
    EndEntries* entries = table.end_entries + 2 * chunk.segment;
    for_entries(block, chunk, [&](int64_t i) {
      const float weight = load_constant(segment.master + i);
      if (weight == ends.low) note(entries[0], i);
      if (weight == ends.high) note(entries[1], i);
    });
  }
  static DIFFQ_INLINE void note(EndEntries& entries, int64_t i) {
    const uint32_t place = atomic_add(&entries.count, 1);
    if (place < EndEntries::kNoted) entries.noted[place] = i;
  }
};

/// Perfect binary tree over a group; kAligned: at a multiple of 16 bytes.
template <int kSize, bool kAligned>
DIFFQ_INLINE float tree_sum(const float* products) {
  if constexpr (kSize == 1) {
    return *products;
  } else if constexpr (kSize == 4 && kAligned) {
    float four[4];
    memcpy(four, __builtin_assume_aligned(products, sizeof four), sizeof four);
    return (four[0] + four[1]) + (four[2] + four[3]);
  } else {
    return tree_sum<kSize / 2, kAligned>(products) + tree_sum<kSize / 2, kAligned>(products + kSize / 2);
  }
}

/// Gradients of the logits of a chunk's groups; and its part of the range's gradient, Σ dot * scale.
struct PullBack {
  ModelTable table;
  NoiseLaw law;
  int32_t first_chunk;

  static constexpr int kBlocksAtOnce = 6;
  struct Shared {
    /// With a gap after each group, so that threads that read meet in no bank.
    alignas(16) float products[kPassEntries * 3 / 2];
    float own[kPassEntries];
    double sums[kBlockThreads];
  };
  DIFFQ_INLINE void operator()(const Block& block, int64_t index, Shared& shared) const {
    const Stretch chunk = table.chunks[first_chunk + index];
    const Segment segment = table.segments[chunk.segment];
    if (segment.group_shift < 0) return;
    const float range = Ends(table.extremes, chunk.segment).range() * law.factor;
    const uint32_t step = table.scalars->step;
    block.threads([&](int thread) { shared.sums[thread] = 0; });
    with_shift(segment.group_shift, [&](auto shift) {
      for (int begin = 0; begin < chunk.count; begin += kPassEntries)
        sum_groups<shift.value>(block, pass_of(chunk, begin), segment, range, step, shared);
    });
    join_threads(block, shared.sums, Add{});
    block.threads([&](int thread) {
      if (thread == 0) table.sums[segment.first_sum + chunk.begin / kChunkEntries] = shared.sums[0];
    });
  }

  template <int kShift>
  DIFFQ_INLINE void sum_groups(const Block& block, const Stretch& pass, const Segment& segment, float range,
                               uint32_t step, Shared& shared) const {
    constexpr int kSize = 1 << kShift, kMostGroups = kPassEntries >> kShift;
    constexpr int kGap = kSize >= 8 ? 4 : kSize > 1 ? 1 : 0;
    const int64_t first_group = pass.begin >> kShift;
    const int groups = ((pass.count - 1) >> kShift) + 1;
    block.threads([&](int thread) {
      float gradient[8], noise[8];
      load_entries(segment.gradient, pass, thread, gradient);
      // Under way while the noise is drawn.
      DIFFQ_UNROLL
      for (int first = 0; first < kMostGroups; first += kBlockThreads) {
        const int group = first + thread;
        if (group < groups) shared.own[group] = load_constant(segment.own + first_group + group);
      }
      draw_entries(law, step, pass, thread, noise);
      float* products = shared.products + entry_of(thread, 0) + kGap * local_group(kShift, thread, 0);
      DIFFQ_UNROLL
      for (int k = 0; k < 8; ++k) products[16 * k + kGap * ((16 * k) >> kShift)] = gradient[k] * noise[k];
    });
    block.threads([&](int thread) {
      float* own_gradient = segment.own_gradient + first_group;
      double sum = 0;
      DIFFQ_UNROLL
      for (int first = 0; first < kMostGroups; first += kBlockThreads) {
        const int group = first + thread;
        if (group >= groups) break;
        const float dot = tree_sum<kSize, kGap == 4>(shared.products + group * (kSize + kGap));
        float scale, slope;
        group_scale(law.map, shared.own[group], scale, slope);
        own_gradient[group] = range > 0 ? range * dot * slope : 0.0f;
        sum += static_cast<double>(dot) * static_cast<double>(scale);
      }
      shared.sums[thread] += sum;
    });
  }
};

/// The range is max - min of the weights: its gradient goes to the largest (+) and smallest (-) entries, in
/// equal parts. A segment a block.
struct FinishRange {
  ModelTable table;
  float factor;  ///< NoiseLaw's
  int32_t first_segment;

  struct Shared {
    double sums[kBlockThreads];
  };
  DIFFQ_INLINE void operator()(const Block& block, int64_t index, Shared& shared) const {
    const int32_t which = first_segment + static_cast<int32_t>(index);
    const Segment segment = table.segments[which];
    const Ends ends(table.extremes, which);
    if (!(ends.range() > 0)) return;
    block.threads([&](int thread) {
      double sum = 0;
      for (int k = thread; k < segment.sum_count; k += kBlockThreads)
        sum += table.sums[segment.first_sum + k];
      shared.sums[thread] = sum;
    });
    join_threads(block, shared.sums, Add{});
    const double range_gradient = shared.sums[0] * static_cast<double>(factor);
    add_to_ends(block, segment, table.end_entries[2 * which], ends.low, -range_gradient);
    add_to_ends(block, segment, table.end_entries[2 * which + 1], ends.high, range_gradient);
  }

  /// To the entries that are `end`.
  DIFFQ_INLINE void add_to_ends(const Block& block, const Segment& segment, const EndEntries& entries,
                                float end, double gradient) const {
    const uint32_t count = entries.count;
    const float part = static_cast<float>(gradient / static_cast<double>(count));
    if (count <= EndEntries::kNoted) {
      block.threads([&](int thread) {
        if (static_cast<uint32_t>(thread) < count) segment.gradient[entries.noted[thread]] += part;
      });
      return;
    }
    for (int32_t k = 0; k < segment.chunk_count; ++k) {
      const Ends of_chunk(table.chunk_extremes, segment.first_chunk + k);
      if (of_chunk.low != end && of_chunk.high != end) continue;
      for_entries(block, table.chunks[segment.first_chunk + k], [&](int64_t i) {
        if (segment.master[i] == end) segment.gradient[i] += part;
      });
    }
  }
};

/// Of the groups that begin in a chunk.
struct AddSizeGradient {
  ModelTable table;
  GroupMap map;

  using Shared = NoShared;
  DIFFQ_INLINE void operator()(const Block& block, int64_t index, Shared&) const {
    const Stretch chunk = table.chunks[index];
    const Segment segment = table.segments[chunk.segment];
    const int64_t size = segment.group_size;
    const int64_t first = (chunk.begin + size - 1) / size,
                  end = (chunk.begin + chunk.count + size - 1) / size;
    block.threads([&](int thread) {
      for (int64_t group = first + thread; group < end; group += kBlockThreads) {
        const int64_t left = segment.numel - group * size;
        const double entries = static_cast<double>(left < size ? left : size);
        const float weight = static_cast<float>(table.scalars->lambda * entries / kBitsPerMb);
        segment.own_gradient[group] += weight * bits_slope(map, segment.own[group]);
      }
    });
  }
};

}  // namespace
}  // namespace diffq
