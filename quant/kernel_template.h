// The loops of quant/kernels.h over sixteen lanes at a time. Included once by each kernels_*.cpp, after the
// lanes_*.h that says what F (16 floats) and I (16 int32) are there. No functions of the standard library
// here: the linker would be free to keep the copy that was compiled for the newest processor.

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "quant/kernels.h"

namespace diffq {
namespace {

constexpr int kVectors = kNoiseBlock / 16;  // a block of noise

template <size_t kCount>
DIFFQ_INLINE F polynomial(const float (&ascending)[kCount], F x) {
  F value = splat(ascending[kCount - 1]);
#pragma GCC unroll 8
  for (int k = static_cast<int>(kCount) - 2; k >= 0; --k) value = fma(value, x, splat(ascending[k]));
  return value;
}

constexpr float kScaledSine[3] = {kSine[0] * 0x1p-11f, kSine[1] * 0x1p-33f, kSine[2] * 0x1p-55f};
constexpr float kScaledCosine[4] = {kCosine[0], kCosine[1] * 0x1p-22f, kCosine[2] * 0x1p-44f,
                                    kCosine[3] * 0x1p-66f};

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
      use(2 * k, to_float(((words[k] << 16) >> 15) | splat(1)) * splat(0x1p-17f));
      use(2 * k + 1, to_float((words[k] >> 15) | splat(1)) * splat(0x1p-17f));
    }
  }
};

struct DrawGaussian {
  RoundKeys keys;
  NoiseSource source;
  explicit DrawGaussian(const NoiseSource& from) : keys(from.seed), source(from) {}

  DIFFQ_INLINE static void pair(I word, F& first, F& second) {
    const F u = to_float(shift_right_logical(word, 11) | splat(1));
    const I split = as_int(u) - splat(kSqrtHalfBits);
    const F t = as_float((split & splat(0x7fffff)) + splat(kSqrtHalfBits)) - splat(1.0f);
    const F log_m = fma(t * t, polynomial(kLog, t), t);
    const F radius = sqrt(fma(to_float(splat(21) - (split >> 23)), splat(kHalfLn2), splat(-.5f) * log_m));
    // x is 2^11 times that of noise_at and the coefficients make up for it: powers of two change no bit.
    const F x = to_float(((word << 22) >> 21) | splat(1));
    const F y = x * x;
    F sine = x * polynomial(kScaledSine, y);
    F cosine = flip_sign_where_bit<11>(word, polynomial(kScaledCosine, y));
    swap_where_bit<10>(word, sine, cosine);
    first = radius * cosine;
    second = radius * sine;
  }

  template <class Use>
  DIFFQ_INLINE void operator()(int64_t block, int64_t, const Use& use) const {
    I words[4];
    philox_block(source, keys, block, words);
    for (int k = 0; k < 4; ++k) {
      F first, second;
      pair(words[k], first, second);
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

/// x rounded to a whole number, half to even, for |x| < 2^22: as a float and as an integer.
DIFFQ_INLINE F whole_part(F x, I& whole) {
  const F shifted = x + splat(12582912.0f);  // 1.5 * 2^23: the last place of the sum is 1
  whole = as_int(shifted) - splat(0x4B400000);
  return shifted - splat(12582912.0f);
}

/// 2^whole * e^r for |r| <= 0.35, whole in [-126, 127].
DIFFQ_INLINE F scaled_exp(F r, I whole) {
  static constexpr float kExp[8] = {1.f, 1.f, 1.f / 2, 1.f / 6, 1.f / 24, 1.f / 120, 1.f / 720, 1.f / 5040};
  return as_float(as_int(polynomial(kExp, r)) + (whole << 23));
}

DIFFQ_INLINE F exp(F x) {
  I whole;
  x = lane_min(lane_max(x, splat(-80.0f)), splat(80.0f));
  const F e = whole_part(x * splat(1.44269504f), whole);
  // ln 2 in two parts, the first of few digits, so that x - e ln 2 keeps its last bits
  return scaled_exp(fma(e, splat(-3.19461833e-5f), fma(e, splat(-.693115234375f), x)), whole);
}

DIFFQ_INLINE F exp2(F x) {
  I whole;
  const F e = whole_part(x, whole);
  return scaled_exp((x - e) * splat(.693147181f), whole);
}

/// σ(logit), and 1 - σ(logit), exact where it is small.
DIFFQ_INLINE void sigmoid(F logits, F& upper, F& lower) {
  const F decay = exp(splat(0.0f) - logits);
  upper = splat(1.0f) / (splat(1.0f) + decay);
  lower = decay * upper;
}

DIFFQ_INLINE void group_scales_16(const GroupMap& map, F logits, F& scale, F& slope) {
  const F one = splat(1.0f);
  F upper, lower;
  sigmoid(logits, upper, lower);
  if (map.parametrisation == Parametrisation::bits) {
    const F bits = splat(map.max_bits) * upper + splat(map.min_bits) * lower;
    scale = one / (exp2(bits) - one);
    // ∂/∂b of 1 / (2^b - 1) is -ln2 2^b / (2^b - 1)² = -ln2 scale (1 + scale)
    slope = splat(-.693147181f * (map.max_bits - map.min_bits)) * (scale * (one + scale)) * (upper * lower);
  } else {
    scale = exp(splat(map.log_scale_at_max) * upper + splat(map.log_scale_at_min) * lower);
    slope = scale * splat(map.log_scale_at_max - map.log_scale_at_min) * (upper * lower);
  }
}

void group_scales(const GroupMap& map, const float* logits, int64_t groups, float* scales, float* slopes) {
  F scale, slope;
  int64_t k = 0;
  for (; k + 16 <= groups; k += 16) {
    group_scales_16(map, load(logits + k), scale, slope);
    store(scales + k, scale);
    if (slopes) store(slopes + k, slope);
  }
  if (k < groups) {
    float padded[16] = {};
    std::memcpy(padded, logits + k, sizeof(float) * static_cast<size_t>(groups - k));
    group_scales_16(map, load(padded), scale, slope);
    store(scales + k, scale);
    if (slopes) store(slopes + k, slope);
  }
}

DIFFQ_INLINE F bits_slope_16(const GroupMap& map, F logits) {
  if (map.parametrisation == Parametrisation::bits) {
    F upper, lower;
    sigmoid(logits, upper, lower);
    return splat(map.max_bits - map.min_bits) * (upper * lower);
  }
  F scale, slope;
  group_scales_16(map, logits, scale, slope);
  // b = log2(1 + 1 / scale)
  return splat(-1.44269504f) * slope / (scale * (splat(1.0f) + scale));
}

void add_bits_slopes(const GroupMap& map, const float* logits, int64_t groups, float weight,
                     float* gradients) {
  int64_t k = 0;
  for (; k + 16 <= groups; k += 16) {
    store(gradients + k, load(gradients + k) + splat(weight) * bits_slope_16(map, load(logits + k)));
  }
  if (k == groups) return;
  const size_t left = sizeof(float) * static_cast<size_t>(groups - k);
  float padded[16] = {}, slopes[16];
  std::memcpy(padded, logits + k, left);
  store(slopes, splat(weight) * bits_slope_16(map, load(padded)));
  for (int64_t i = 0; k + i < groups; ++i) gradients[k + i] += slopes[i];
}

}  // namespace
}  // namespace diffq
