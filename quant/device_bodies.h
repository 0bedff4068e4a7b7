#pragma once
// What the bodies of all kernels of device_kernels.h share, and the first two of them. A body is what one
// block of threads does (device_launch.h).

#ifdef __CUDACC__
#include <cuda_bf16.h>
#endif

#include "quant/device_kernels.h"
#include "quant/grid.h"
#include "quant/lanes_one.h"
// The lanes come first: the formulas are written in their terms.
#include "quant/lane_formulas.h"

namespace diffq {
namespace {

/// Floats as whole numbers of the same order, for atomic minima.
DIFFQ_INLINE uint32_t ordered_bits(float x) {
  const uint32_t bits = static_cast<uint32_t>(as_int(x));
  return bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
}
DIFFQ_INLINE float from_ordered_bits(uint32_t bits) {
  return as_float(static_cast<int32_t>(bits ^ ((bits >> 31) != 0 ? 0x80000000u : 0xffffffffu)));
}

/// Smallest and largest entry of a segment or chunk. Without a number among its entries, the range is NaN.
struct Ends {
  float low, high;
  DIFFQ_INLINE Ends(const uint32_t* extremes, int64_t which)
      : low(from_ordered_bits(extremes[2 * which])), high(from_ordered_bits(extremes[2 * which + 1])) {}
  DIFFQ_INLINE float range() const { return high - low; }
};

/// Rounded half to even, as everywhere.
DIFFQ_INLINE uint16_t to_bf16(float x) {
#ifdef __CUDACC__
  return __bfloat16_as_ushort(__float2bfloat16_rn(x));
#else
  const uint32_t bits = static_cast<uint32_t>(as_int(x));
  if (x != x) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
#endif
}

/// Where a segment's compute is written as float; null where it is as bfloat16.
DIFFQ_INLINE float* float_compute(const ModelTable& table, const Segment& segment) {
  if (!segment.compute_is_bf16) return static_cast<float*>(segment.compute);
  return table.full_precision ? segment.gradient : nullptr;
}

DIFFQ_INLINE void store_compute(const ModelTable& table, const Segment& segment, int64_t i, float value) {
  if (float* compute = float_compute(table, segment); compute != nullptr) {
    compute[i] = value;
  } else {
    static_cast<uint16_t*>(segment.compute)[i] = to_bf16(value);
  }
}

DIFFQ_INLINE int64_t group_of(const Segment& segment, int64_t entry) {
  return segment.group_shift >= 0 ? entry >> segment.group_shift : entry / segment.group_size;
}

/// Of memory that nothing writes while the kernel runs.
DIFFQ_INLINE float load_constant(const float* from) {
#ifdef __CUDACC__
  return __ldg(from);
#else
  return *from;
#endif
}

/// The part of a chunk that a block takes at a time, from `begin` on, counted from the chunk's.
DIFFQ_INLINE Stretch pass_of(const Stretch& chunk, int begin) {
  const int left = chunk.count - begin;
  return {chunk.segment, left < kPassEntries ? left : kPassEntries, chunk.begin + begin};
}

/// The k-th entry of a thread, counted from the pass's begin: coalesced, and all eight from one counter.
DIFFQ_INLINE int entry_of(int thread, int k) { return (thread / 16) * 128 + (thread % 16) + 16 * k; }

/// Of the eight entries of a thread those that are there; 0 for the others.
DIFFQ_INLINE void load_entries(const float* from, const Stretch& pass, int thread, float (&values)[8]) {
  from += pass.begin + entry_of(thread, 0);
  const int left = pass.count - entry_of(thread, 0);
  if (pass.count == kPassEntries) {
    DIFFQ_UNROLL
    for (int k = 0; k < 8; ++k) values[k] = load_constant(from + 16 * k);
    return;
  }
  DIFFQ_UNROLL
  for (int k = 0; k < 8; ++k) values[k] = 16 * k < left ? load_constant(from + 16 * k) : 0.0f;
}

/// Eight entries of a chunk, kBlockThreads apart, where their order does not matter; NaN where it has ended.
DIFFQ_INLINE void load_strided(const float* from, const Stretch& chunk, int first, float (&values)[8]) {
  DIFFQ_UNROLL
  for (int k = 0; k < 8; ++k) {
    const int i = first + k * kBlockThreads;
    values[k] = i < chunk.count ? load_constant(from + chunk.begin + i) : NAN;
  }
}

template <class Stored, class Convert>
DIFFQ_INLINE void store_entries_as(Stored* to, const Stretch& pass, int thread, const float (&values)[8],
                                   const Convert& convert) {
  to += pass.begin + entry_of(thread, 0);
  const int left = pass.count - entry_of(thread, 0);
  if (pass.count == kPassEntries) {
    DIFFQ_UNROLL
    for (int k = 0; k < 8; ++k) to[16 * k] = convert(values[k]);
    return;
  }
  DIFFQ_UNROLL
  for (int k = 0; k < 8; ++k) {
    if (16 * k < left) to[16 * k] = convert(values[k]);
  }
}

DIFFQ_INLINE void store_entries(const ModelTable& table, const Segment& segment, const Stretch& pass,
                                int thread, const float (&values)[8]) {
  if (float* compute = float_compute(table, segment); compute != nullptr) {
    store_entries_as(compute, pass, thread, values, [](float x) { return x; });
  } else {
    store_entries_as(static_cast<uint16_t*>(segment.compute), pass, thread, values,
                     [](float x) { return to_bf16(x); });
  }
}

/// Calls work(i) for every entry of a chunk, i counting from the segment's begin.
template <class Work>
DIFFQ_INLINE void for_entries(const Block& block, const Stretch& chunk, const Work& work) {
  block.threads([&](int thread) {
    for (int i = thread; i < chunk.count; i += kBlockThreads) work(chunk.begin + i);
  });
}

DIFFQ_INLINE void copy_chunk(const Block& block, const ModelTable& table, const Stretch& chunk) {
  const Segment segment = table.segments[chunk.segment];
  for_entries(block, chunk, [&](int64_t i) { store_compute(table, segment, i, segment.master[i]); });
}

struct NoShared {};

struct BeginStep {
  ModelTable table;
  bool has_scalars;
  StepScalars scalars;

  using Shared = NoShared;
  DIFFQ_INLINE void operator()(const Block& block, int64_t index, Shared&) const {
    block.threads([&](int thread) {
      const int64_t segment = index * kBlockThreads + thread;
      if (segment == 0 && has_scalars) *table.scalars = scalars;
      if (segment >= table.segment_count) return;
      table.extremes[2 * segment] = 0xffffffffu;
      table.extremes[2 * segment + 1] = 0;
      table.end_entries[2 * segment].count = table.end_entries[2 * segment + 1].count = 0;
    });
  }
};

struct FindExtremes {
  ModelTable table;

  struct Pair {
    uint32_t low, high;
  };
  struct Shared {
    Pair pairs[kBlockThreads];
  };
  DIFFQ_INLINE void operator()(const Block& block, int64_t from_last, Shared& shared) const {
    // Backwards: what is looked at last is still in the cache when noise is added to it first.
    const int64_t index = table.chunk_count - 1 - from_last;
    const Stretch chunk = table.chunks[index];
    const float* master = table.segments[chunk.segment].master;
    const auto join = [](Pair a, Pair b) {
      return Pair{a.low < b.low ? a.low : b.low, a.high > b.high ? a.high : b.high};
    };
    block.threads([&](int thread) {
      float low = INFINITY, high = -INFINITY;
      for (int first = thread; first < chunk.count; first += kPassEntries) {
        float values[8];
        load_strided(master, chunk, first, values);
        DIFFQ_UNROLL
        for (int k = 0; k < 8; ++k) {            // what is no number is neither less nor more
          const float value = values[k] + 0.0f;  // -0 is made 0
          low = value < low ? value : low;
          high = value > high ? value : high;
        }
      }
      // No number at all: the ends stay as BeginStep left them.
      const bool none = low > high;
      shared.pairs[thread] = {none ? 0xffffffffu : ordered_bits(low), none ? 0 : ordered_bits(high)};
    });
    join_threads(block, shared.pairs, join);
    block.threads([&](int thread) {
      if (thread != 0) return;
      table.chunk_extremes[2 * index] = shared.pairs[0].low;
      table.chunk_extremes[2 * index + 1] = shared.pairs[0].high;
      atomic_min(&table.extremes[2 * chunk.segment], shared.pairs[0].low);
      atomic_max(&table.extremes[2 * chunk.segment + 1], shared.pairs[0].high);
    });
  }
};

}  // namespace
}  // namespace diffq
