#pragma once
// DiffQ's pull_back for groups that do not divide a block of noise, and for those longer than a piece.

#include "quant/device_noise_bodies.h"

namespace diffq {
namespace {

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
    const float range = Ends(table.extremes, piece.segment).range() * law.factor;
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
                  static_cast<double>(draw_entry(law, table.scalars->step, piece.segment, entry));
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
    const float range = Ends(table.extremes, which).range() * law.factor;
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

}  // namespace
}  // namespace diffq
