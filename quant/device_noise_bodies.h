#pragma once
// DiffQ's kernels: the noise, and the gradients of bits and range.

#include "quant/device_bodies.h"

namespace diffq {
namespace {

DIFFQ_INLINE void noise_of_word(NoiseKind kind, uint32_t word, float& first, float& second) {
  if (kind == NoiseKind::uniform) {
    uniform_pair(static_cast<I>(word), first, second);
  } else {
    gaussian_pair(static_cast<I>(word), first, second);
  }
}

/// The noise of those eight entries.
DIFFQ_INLINE void draw_entries(const NoiseLaw& law, uint32_t step, const Stretch& chunk, int thread,
                               float (&noise)[8]) {
  const PhiloxWords words =
      noise_words(law.seed, step, static_cast<uint32_t>(chunk.segment), chunk.begin + entry_of(thread, 0));
  DIFFQ_UNROLL
  for (int k = 0; k < 4; ++k) noise_of_word(law.kind, words.word[k], noise[2 * k], noise[2 * k + 1]);
}

/// The noise of one entry: an eighth of the worth of a counter.
DIFFQ_INLINE float draw_entry(const NoiseLaw& law, uint32_t step, int32_t segment, int64_t i) {
  const PhiloxWords words = noise_words(law.seed, step, static_cast<uint32_t>(segment), i);
  float first = 0, second = 0;
  noise_of_word(law.kind, words.word[(i >> 5) & 3], first, second);
  return ((i >> 4) & 1) != 0 ? second : first;
}

struct AddNoise {
  ModelTable table;
  NoiseLaw law;

  struct Shared {
    float steps[kChunkEntries];
    uint32_t smallest, largest;
  };
  DIFFQ_INLINE void operator()(const Block& block, int64_t index, Shared& shared) const {
    const Stretch chunk = table.chunks[index];
    const Segment segment = table.segments[chunk.segment];
    const Ends ends(table, chunk.segment);
    const float range = ends.range();
    const int64_t first_group = group_of(segment, chunk.begin);
    const int64_t ahead = chunk.begin - first_group * segment.group_size;  // 0 where groups divide chunks
    const auto local_group = [&](int i) {
      return segment.group_shift >= 0 ? i >> segment.group_shift
                                      : static_cast<int>((ahead + i) / segment.group_size);
    };
    const int groups = local_group(chunk.count - 1) + 1;
    block.threads([&](int thread) {
      for (int group = thread; group < groups; group += kBlockThreads) {
        float scale, slope;
        group_scale(law.map, segment.own[first_group + group], scale, slope);
        shared.steps[group] = scale * range;
      }
      if (thread == 0) shared.smallest = shared.largest = 0;
    });
    block.threads([&](int thread) {
      float weights[8], noise[8];
      load_entries(segment.master, chunk, thread, weights);
      draw_entries(law, *table.step, chunk, thread, noise);
      DIFFQ_UNROLL
      for (int k = 0; k < 8; ++k) {
        const int i = entry_of(thread, k);
        if (i >= chunk.count) continue;
        const float noisy = weights[k] + shared.steps[local_group(i)] * noise[k];
        // A constant tensor stays as it is.
        store_compute(table, segment, chunk.begin + i, range > 0 ? noisy : weights[k]);
        if (weights[k] == ends.low) atomic_add(&shared.smallest, 1);
        if (weights[k] == ends.high) atomic_add(&shared.largest, 1);
      }
    });
    block.threads([&](int thread) {
      if (thread == 0) table.ties[index] = shared.smallest | shared.largest << 16;
    });
  }
};

/// Perfect binary tree over a group.
template <int kSize>
DIFFQ_INLINE float tree_sum(const float* products) {
  if constexpr (kSize == 1) {
    return *products;
  } else {
    return tree_sum<kSize / 2>(products) + tree_sum<kSize / 2>(products + kSize / 2);
  }
}

DIFFQ_INLINE float tree_sum(int32_t group_shift, const float* products) {
  switch (group_shift) {
    case 0:
      return tree_sum<1>(products);
    case 1:
      return tree_sum<2>(products);
    case 2:
      return tree_sum<4>(products);
    case 3:
      return tree_sum<8>(products);
    case 4:
      return tree_sum<16>(products);
    case 5:
      return tree_sum<32>(products);
    case 6:
      return tree_sum<64>(products);
    default:
      return tree_sum<128>(products);
  }
}

/// Gradients of the logits of a chunk's groups; and its part of the range's gradient, Σ dot * scale.
struct PullBack {
  ModelTable table;
  NoiseLaw law;
  int32_t first_chunk;

  struct Shared {
    float products[kChunkEntries * 3 / 2];  ///< with a gap after each group, so that threads meet no banks
    double sums[kBlockThreads];
  };
  DIFFQ_INLINE void operator()(const Block& block, int64_t index, Shared& shared) const {
    const Stretch chunk = table.chunks[first_chunk + index];
    const Segment segment = table.segments[chunk.segment];
    if (segment.group_shift < 0) return;
    const int shift = segment.group_shift, gap = shift > 0 ? 1 : 0;
    const float range = Ends(table, chunk.segment).range();
    block.threads([&](int thread) {
      float gradient[8], noise[8];
      load_entries(segment.gradient, chunk, thread, gradient);
      draw_entries(law, *table.step, chunk, thread, noise);
      DIFFQ_UNROLL
      for (int k = 0; k < 8; ++k) {
        const int i = entry_of(thread, k);
        shared.products[i + gap * (i >> shift)] = gradient[k] * noise[k];
      }
    });
    block.threads([&](int thread) {
      const int64_t first_group = chunk.begin >> shift;
      const int groups = ((chunk.count - 1) >> shift) + 1;
      double sum = 0;
      for (int group = thread; group < groups; group += kBlockThreads) {
        const float dot = tree_sum(shift, shared.products + (group << shift) + gap * group);
        float scale, slope;
        group_scale(law.map, segment.own[first_group + group], scale, slope);
        segment.own_gradient[first_group + group] = range > 0 ? range * dot * slope : 0.0f;
        sum += static_cast<double>(dot) * static_cast<double>(scale);
      }
      shared.sums[thread] = sum;
    });
    join_threads(block, shared.sums, Add{});
    block.threads([&](int thread) {
      if (thread == 0) table.sums[segment.first_sum + chunk.begin / kChunkEntries] = shared.sums[0];
    });
  }
};

/// A group that is longer than a piece is cut.
DIFFQ_INLINE bool is_cut(const ModelTable& table, const Segment& segment) {
  return segment.group_size > table.piece_entries;
}

/// The same for groups of any length, a piece of them a block: teams of threads take a group at a time, and
/// draw each entry's noise by itself. Of cut groups: Σ gradient * noise alone, for FinishCutGroups.
struct PullBackAnyGroups {
  ModelTable table;
  NoiseLaw law;
  int32_t first_piece;

  struct Shared {
    double parts[kBlockThreads], sums[kBlockThreads];
  };
  DIFFQ_INLINE void operator()(const Block& block, int64_t index, Shared& shared) const {
    const Stretch piece = table.pieces[first_piece + index];
    const Segment segment = table.segments[piece.segment];
    const int64_t sum_index = segment.first_sum + (first_piece + index - segment.first_piece);
    const float range = Ends(table, piece.segment).range();
    const bool cut = is_cut(table, segment);
    const int64_t group_size = cut ? piece.count : segment.group_size;
    int team = 1;  // threads
    while (team < kBlockThreads && 2 * team <= group_size) team *= 2;
    const int teams = kBlockThreads / team;
    const int64_t groups = (piece.count + group_size - 1) / group_size;
    block.threads([&](int thread) { shared.sums[thread] = 0; });
    for (int64_t first = 0; first < groups; first += teams) {
      block.threads([&](int thread) {
        const int64_t group = first + thread / team;
        const int64_t end = group + 1 < groups ? (group + 1) * group_size : piece.count;
        double part = 0;
        for (int64_t i = group * group_size + thread % team; i < end; i += team) {
          const int64_t entry = piece.begin + i;
          part += static_cast<double>(segment.gradient[entry]) *
                  static_cast<double>(draw_entry(law, *table.step, piece.segment, entry));
        }
        shared.parts[thread] = part;
      });
      for (int width = team / 2; width > 0; width /= 2) {
        block.threads([&](int thread) {
          if (thread % team < width) shared.parts[thread] += shared.parts[thread + width];
        });
      }
      block.threads([&](int thread) {
        const int64_t group = first + thread / team;
        if (thread % team != 0 || group >= groups) return;
        if (cut) {
          shared.sums[thread] = shared.parts[thread];
          return;
        }
        const float dot = static_cast<float>(shared.parts[thread]);
        const int64_t of_segment = piece.begin / group_size + group;
        float scale, slope;
        group_scale(law.map, segment.own[of_segment], scale, slope);
        segment.own_gradient[of_segment] = range > 0 ? range * dot * slope : 0.0f;
        shared.sums[thread] += static_cast<double>(dot) * static_cast<double>(scale);
      });
    }
    join_threads(block, shared.sums, Add{});
    block.threads([&](int thread) {
      if (thread == 0) table.sums[sum_index] = shared.sums[0];
    });
  }
};

/// Adds up the pieces of cut groups; then the segment's first sum is Σ dot * scale. A segment a block.
struct FinishCutGroups {
  ModelTable table;
  NoiseLaw law;
  int32_t first_segment;

  struct Shared {
    double sums[kBlockThreads];
  };
  DIFFQ_INLINE void operator()(const Block& block, int64_t index, Shared& shared) const {
    const int32_t which = first_segment + static_cast<int32_t>(index);
    const Segment segment = table.segments[which];
    if (segment.piece_count == 0 || !is_cut(table, segment)) return;
    const float range = Ends(table, which).range();
    const int64_t pieces_a_group = (segment.group_size + table.piece_entries - 1) / table.piece_entries;
    double* sums = table.sums + segment.first_sum;
    block.threads([&](int thread) {
      double range_gradient = 0;
      for (int64_t group = thread; group < segment.groups; group += kBlockThreads) {
        double sum = 0;
        for (int64_t k = 0; k < pieces_a_group; ++k) {
          const int64_t piece = group * pieces_a_group + k;
          if (piece >= segment.piece_count) break;
          sum += sums[piece];
          sums[piece] = 0;
        }
        float scale, slope;
        group_scale(law.map, segment.own[group], scale, slope);
        segment.own_gradient[group] =
            range > 0 ? static_cast<float>(static_cast<double>(range) * sum * static_cast<double>(slope))
                      : 0.0f;
        range_gradient += sum * static_cast<double>(scale);
      }
      shared.sums[thread] = range_gradient;
    });
    join_threads(block, shared.sums, Add{});
    block.threads([&](int thread) {
      if (thread == 0) sums[0] = shared.sums[0];
    });
  }
};

/// The range is max - min of the weights: its gradient goes to the largest (+) and smallest (-) entries, in
/// equal parts. Most chunks have none of them: a block looks for those that do.
struct SpreadRangeGradient {
  ModelTable table;
  int32_t first_chunk, last_chunk;

  static constexpr int kChunks = 64;  ///< a block
  struct Shared {
    uint32_t ties[kChunks];
    double sums[kBlockThreads], smallest[kBlockThreads], largest[kBlockThreads];
  };
  DIFFQ_INLINE void operator()(const Block& block, int64_t index, Shared& shared) const {
    const int64_t first = first_chunk + index * kChunks;
    block.threads([&](int thread) {
      if (thread < kChunks)
        shared.ties[thread] = first + thread < last_chunk ? table.ties[first + thread] : 0;
    });
    for (int k = 0; k < kChunks; ++k) {
      if (shared.ties[k] != 0) spread(block, table.chunks[first + k], shared);
    }
  }

  DIFFQ_INLINE void spread(const Block& block, const Stretch& chunk, Shared& shared) const {
    const Segment segment = table.segments[chunk.segment];
    const Ends ends(table, chunk.segment);
    if (!(ends.range() > 0)) return;
    block.threads([&](int thread) {
      double sum = 0, smallest = 0, largest = 0;
      for (int k = thread; k < segment.sum_count; k += kBlockThreads)
        sum += table.sums[segment.first_sum + k];
      for (int k = thread; k < segment.chunk_count; k += kBlockThreads) {
        const uint32_t ties = table.ties[segment.first_chunk + k];
        smallest += static_cast<double>(ties & 0xffffu);
        largest += static_cast<double>(ties >> 16);
      }
      shared.sums[thread] = sum;
      shared.smallest[thread] = smallest;
      shared.largest[thread] = largest;
    });
    join_threads(block, shared.sums, Add{});
    join_threads(block, shared.smallest, Add{});
    join_threads(block, shared.largest, Add{});
    block.threads([&](int thread) {
      const float up = static_cast<float>(shared.sums[0] / shared.largest[0]);
      const float down = static_cast<float>(shared.sums[0] / shared.smallest[0]);
      for (int i = thread; i < chunk.count; i += kBlockThreads) {
        const float weight = segment.master[chunk.begin + i];
        float& gradient = segment.gradient[chunk.begin + i];
        if (weight == ends.high) gradient += up;
        if (weight == ends.low) gradient -= down;
      }
    });
  }
};

/// Of the groups that begin in a chunk.
struct AddSizeGradient {
  ModelTable table;
  GroupMap map;
  double lambda;

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
        const float weight = static_cast<float>(lambda * entries / kBitsPerMb);
        segment.own_gradient[group] += weight * bits_slope(map, segment.own[group]);
      }
    });
  }
};

}  // namespace
}  // namespace diffq
