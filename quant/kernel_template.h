// The loops of quant/kernels.h over sixteen lanes at a time. Included once by each kernels_*.cpp, after the
// lanes_*.h that says what F (16 floats) and I (16 int32) are there. No functions of the standard library
// here: the linker would be free to keep the copy that was compiled for the newest processor.

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "quant/kernels.h"
#include "quant/lane_formulas.h"

namespace diffq {
namespace {

constexpr int kVectors = kNoiseBlock / 16;  // a block of noise

// ---- noise: see noise.h and noise_at for the formulas. Each kind gives the vectors of a block, in order, to
// a `use` as soon as they are there, so that few have to be held at once. ----

struct DrawUniform {
  RoundKeys keys;
  NoiseSource source;
  explicit DrawUniform(const NoiseSource& from) : keys(from.seed), source(from) {}

  template <class Use>
  DIFFQ_INLINE void operator()(int64_t block, int64_t, const Use& use) const {
    I words[4];
    philox_block(source, keys, block, words);
    for (int k = 0; k < 4; ++k) {
      F first, second;
      uniform_pair(words[k], first, second);
      use(2 * k, first);
      use(2 * k + 1, second);
    }
  }
};

struct DrawGaussian {
  RoundKeys keys;
  NoiseSource source;
  explicit DrawGaussian(const NoiseSource& from) : keys(from.seed), source(from) {}

  template <class Use>
  DIFFQ_INLINE void operator()(int64_t block, int64_t, const Use& use) const {
    I words[4];
    philox_block(source, keys, block, words);
    for (int k = 0; k < 4; ++k) {
      F first, second;
      gaussian_pair(words[k], first, second);
      use(2 * k, first);
      use(2 * k + 1, second);
    }
  }
};

/// Noise that was handed in; `count` entries of the block are there.
struct DrawGiven {
  NoiseSource source;
  explicit DrawGiven(const NoiseSource& from) : source(from) {}

  template <class Use>
  DIFFQ_INLINE void operator()(int64_t block, int64_t count, const Use& use) const {
    float padded[kNoiseBlock] = {};
    std::memcpy(padded, source.given + kNoiseBlock * block, sizeof(float) * static_cast<size_t>(count));
    for (int k = 0; k < kVectors; ++k) use(k, load(padded + 16 * k));
  }
};

/// Calls work(draw) with the kind of noise as a type.
template <class Work>
DIFFQ_INLINE void with_draw(const NoiseSource& source, const Work& work) {
  if (source.given) {
    work(DrawGiven{source});
  } else if (source.kind == NoiseKind::uniform) {
    work(DrawUniform{source});
  } else {
    work(DrawGaussian{source});
  }
}

template <int kSize>
struct Group {
  static constexpr int size = kSize;
};

/// Calls work(Group<group_size>) with the group's size as a constant.
template <class Work>
DIFFQ_INLINE void with_group(int64_t group_size, const Work& work) {
  switch (group_size) {
    case 1:
      return work(Group<1>{});
    case 2:
      return work(Group<2>{});
    case 4:
      return work(Group<4>{});
    case 8:
      return work(Group<8>{});
    case 16:
      return work(Group<16>{});
    case 32:
      return work(Group<32>{});
    case 64:
      return work(Group<64>{});
    default:
      return work(Group<128>{});
  }
}

// ---- the loops ----

void extremes(const float* entries, int64_t n, float* min, float* max) {
  F low = splat(__builtin_inff()), high = splat(-__builtin_inff());
  F low2 = low, high2 = high;
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    const F a = load(entries + i), b = load(entries + i + 16);
    low = lane_min(a, low), high = lane_max(a, high);
    low2 = lane_min(b, low2), high2 = lane_max(b, high2);
  }
  float lows[16], highs[16];
  store(lows, lane_min(low, low2));
  store(highs, lane_max(high, high2));
  for (int k = 1; k < 16; ++k) {
    lows[0] = lows[k] < lows[0] ? lows[k] : lows[0];
    highs[0] = highs[k] > highs[0] ? highs[k] : highs[0];
  }
  for (; i < n; ++i) {
    lows[0] = entries[i] < lows[0] ? entries[i] : lows[0];
    highs[0] = entries[i] > highs[0] ? entries[i] : highs[0];
  }
  *min = lows[0];
  *max = highs[0];
}

void draw(const NoiseSource& source, int64_t first_block, int64_t n, float* noise) {
  with_draw(source, [&](const auto& draw_block) {
    for (int64_t i = 0; i < n; i += kNoiseBlock) {
      draw_block(
          first_block + i / kNoiseBlock,
          n - i < kNoiseBlock ? n - i : kNoiseBlock, [&](int k, F vector) __attribute__((always_inline)) {
            store(noise + i + 16 * k, vector);
          });
    }
  });
}

/// Calls work(block, count, i) for the blocks of n entries: entries [i, i + count) are there. One call in one
/// loop, so that the constants of the formulas stay in registers.
template <class Work>
DIFFQ_INLINE void for_blocks(int64_t first, int64_t n, const Work& work) {
  for (int64_t i = 0; i < n; i += kNoiseBlock) {
    work(first / kNoiseBlock + i / kNoiseBlock, n - i < kNoiseBlock ? n - i : kNoiseBlock, i);
  }
}

/// A short last block is worked on in a copy of full length.
DIFFQ_INLINE const float* whole_block(const float* entries, int64_t count, float padded[kNoiseBlock]) {
  if (__builtin_expect(count == kNoiseBlock, 1)) return entries;
  std::memset(padded, 0, sizeof(float) * kNoiseBlock);
  std::memcpy(padded, entries, sizeof(float) * static_cast<size_t>(count));
  return padded;
}

void add_noise(const NoiseSource& source, int64_t group_size, int64_t first, int64_t n, const float* steps,
               const float* master, float* compute) {
  with_draw(source, [&](const auto& draw_block) {
    with_group(group_size, [&](auto group) {
      constexpr int kGroup = decltype(group)::size;
      float padded[kNoiseBlock], noisy[kNoiseBlock];
      for_blocks(
          first, n, [&](int64_t block, int64_t count, int64_t i) __attribute__((always_inline)) {
            const float* weights = whole_block(master + i, count, padded);
            float* result = count == kNoiseBlock ? compute + i : noisy;
            draw_block(
                block, count, [&](int k, F noise) __attribute__((always_inline)) {
                  const F step = spread<kGroup>(steps + (i + 16 * k) / kGroup);
                  store(result + 16 * k, load(weights + 16 * k) + step * noise);
                });
            if (result == noisy) std::memcpy(compute + i, noisy, sizeof(float) * static_cast<size_t>(count));
          });
    });
  });
}

/// The sums of a block's groups, from its products: neighbours are added until each group is one number.
template <int kGroup>
DIFFQ_INLINE void store_group_sums(F (&tree)[kVectors], float* dots) {
  int vectors = kVectors;
#pragma GCC unroll 8
  for (int width = 1; width < kGroup; width *= 2) {
    const bool last = vectors == 1;
    vectors = last ? 1 : vectors / 2;
#pragma GCC unroll 8
    for (int k = 0; k < vectors; ++k) tree[k] = pair_sums(tree[2 * k], tree[last ? 0 : 2 * k + 1]);
  }
  // Groups longer than 8 leave fewer than 16 sums; what follows them is overwritten by the next block.
  for (int k = 0; k < vectors; ++k) store(dots + 16 * k, tree[k]);
}

void group_dots(const NoiseSource& source, int64_t group_size, int64_t first, int64_t n,
                const float* gradient, float* dots) {
  with_draw(source, [&](const auto& draw_block) {
    with_group(group_size, [&](auto group) {
      constexpr int kGroup = decltype(group)::size;
      float padded[kNoiseBlock];
      for_blocks(
          first, n, [&](int64_t block, int64_t count, int64_t i) __attribute__((always_inline)) {
            const float* entries = whole_block(gradient + i, count, padded);
            F tree[kVectors];
            draw_block(
                block, count, [&](int k, F noise) __attribute__((always_inline)) {
                  tree[k] = load(entries + 16 * k) * noise;
                });
            store_group_sums<kGroup>(tree, dots + i / kGroup);
          });
    });
  });
}

// ---- groups ----

void group_scales(const GroupMap& map, const float* logits, int64_t groups, float* scales, float* slopes) {
  F scale, slope;
  int64_t k = 0;
  for (; k + 16 <= groups; k += 16) {
    group_scale(map, load(logits + k), scale, slope);
    store(scales + k, scale);
    if (slopes) store(slopes + k, slope);
  }
  if (k < groups) {
    float padded[16] = {};
    std::memcpy(padded, logits + k, sizeof(float) * static_cast<size_t>(groups - k));
    group_scale(map, load(padded), scale, slope);
    store(scales + k, scale);
    if (slopes) store(slopes + k, slope);
  }
}

void add_bits_slopes(const GroupMap& map, const float* logits, int64_t groups, float weight,
                     float* gradients) {
  int64_t k = 0;
  for (; k + 16 <= groups; k += 16) {
    store(gradients + k, load(gradients + k) + splat(weight) * bits_slope(map, load(logits + k)));
  }
  if (k == groups) return;
  const size_t left = sizeof(float) * static_cast<size_t>(groups - k);
  float padded[16] = {}, slopes[16];
  std::memcpy(padded, logits + k, left);
  store(slopes, splat(weight) * bits_slope(map, load(padded)));
  for (int64_t i = 0; k + i < groups; ++i) gradients[k + i] += slopes[i];
}

}  // namespace
}  // namespace diffq
