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

inline F polynomial(const float* ascending, int count, F x) {
  F value = splat(ascending[count - 1]);
  for (int k = count - 2; k >= 0; --k) value = fma(value, x, splat(ascending[k]));
  return value;
}

// ---- noise: see noise.h and noise_at for the formulas ----

struct DrawUniform {
  const NoiseSource& source;
  void operator()(int64_t block, int64_t, F noise[kVectors]) const {
    I words[4];
    philox_block(source, block, words);
    for (int k = 0; k < 4; ++k) {
      noise[2 * k] = to_float(((words[k] << 16) >> 15) | splat(1)) * splat(0x1p-17f);
      noise[2 * k + 1] = to_float((words[k] >> 15) | splat(1)) * splat(0x1p-17f);
    }
  }
};

struct DrawGaussian {
  const NoiseSource& source;
  static inline void pair(I word, F& first, F& second) {
    const F u = to_float(shift_right_logical(word, 11) | splat(1));
    const I split = as_int(u) - splat(kSqrtHalfBits);
    const F t = as_float((split & splat(0x7fffff)) + splat(kSqrtHalfBits)) - splat(1.0f);
    const F log_m = fma(t * t, polynomial(kLog, 6, t), t);
    const F radius = sqrt(fma(to_float(splat(21) - (split >> 23)), splat(kHalfLn2), splat(-.5f) * log_m));
    const F x = to_float(((word << 22) >> 21) | splat(1)) * splat(0x1p-11f);
    const F y = x * x;
    const I sine = as_int(x * polynomial(kSine, 3, y));
    const I cosine = as_int(polynomial(kCosine, 4, y)) ^ ((word & splat(0x800)) << 20);
    const I swap = (sine ^ cosine) & ((word << 21) >> 31);
    first = radius * as_float(cosine ^ swap);
    second = radius * as_float(sine ^ swap);
  }
  void operator()(int64_t block, int64_t, F noise[kVectors]) const {
    I words[4];
    philox_block(source, block, words);
    for (int k = 0; k < 4; ++k) pair(words[k], noise[2 * k], noise[2 * k + 1]);
  }
};

/// Noise that was handed in; `count` entries of the block are there.
struct DrawGiven {
  const NoiseSource& source;
  void operator()(int64_t block, int64_t count, F noise[kVectors]) const {
    float padded[kNoiseBlock] = {};
    std::memcpy(padded, source.given + kNoiseBlock * block, sizeof(float) * static_cast<size_t>(count));
    for (int k = 0; k < kVectors; ++k) noise[k] = load(padded + 16 * k);
  }
};

/// Calls work(draw) with the kind of noise as a type.
template <class Work>
inline void with_draw(const NoiseSource& source, const Work& work) {
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
inline void with_group(int64_t group_size, const Work& work) {
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
      F block[kVectors];
      draw_block(first_block + i / kNoiseBlock, n - i < kNoiseBlock ? n - i : kNoiseBlock, block);
      for (int k = 0; k < kVectors; ++k) store(noise + i + 16 * k, block[k]);
    }
  });
}

template <class Draw, int kGroup>
inline void add_noise_block(const Draw& draw_block, int64_t block, int64_t count, const float* steps,
                            const float* master, float* compute) {
  F noise[kVectors];
  draw_block(block, count, noise);
  for (int k = 0; k < kVectors; ++k) {
    const F step = spread<kGroup>(steps + 16 * k / kGroup);
    store(compute + 16 * k, load(master + 16 * k) + step * noise[k]);
  }
}

void add_noise(const NoiseSource& source, int64_t group_size, int64_t first, int64_t n, const float* steps,
               const float* master, float* compute) {
  const int64_t whole = n - n % kNoiseBlock, rest = n - whole;
  with_draw(source, [&](const auto& draw_block) {
    with_group(group_size, [&](auto group) {
      using Draw = std::remove_cvref_t<decltype(draw_block)>;
      constexpr int kGroup = decltype(group)::size;
      int64_t block = first / kNoiseBlock;
      for (int64_t i = 0; i < whole; i += kNoiseBlock) {
        add_noise_block<Draw, kGroup>(draw_block, block++, kNoiseBlock, steps + i / kGroup, master + i,
                                      compute + i);
      }
      if (rest) {
        float padded[kNoiseBlock] = {}, noisy[kNoiseBlock];
        std::memcpy(padded, master + whole, sizeof(float) * static_cast<size_t>(rest));
        add_noise_block<Draw, kGroup>(draw_block, block, rest, steps + whole / kGroup, padded, noisy);
        std::memcpy(compute + whole, noisy, sizeof(float) * static_cast<size_t>(rest));
      }
    });
  });
}

template <class Draw, int kGroup>
inline void group_dots_block(const Draw& draw_block, int64_t block, int64_t count, const float* gradient,
                             float* dots) {
  F tree[kVectors];
  draw_block(block, count, tree);
  for (int k = 0; k < kVectors; ++k) tree[k] = load(gradient + 16 * k) * tree[k];
  int vectors = kVectors;
#pragma GCC unroll 8
  for (int width = 1; width < kGroup; width *= 2) {
    const int next = vectors > 1 ? vectors / 2 : 1;
#pragma GCC unroll 8
    for (int k = 0; k < next; ++k)
      tree[k] = pair_sums(tree[2 * k < vectors ? 2 * k : 0], tree[vectors > 1 ? 2 * k + 1 : 0]);
    vectors = next;
  }
  // Groups longer than 16 leave fewer than 16 sums; what follows them is overwritten by the next block.
  for (int k = 0; k < vectors; ++k) store(dots + 16 * k, tree[k]);
}

void group_dots(const NoiseSource& source, int64_t group_size, int64_t first, int64_t n,
                const float* gradient, float* dots) {
  const int64_t whole = n - n % kNoiseBlock, rest = n - whole;
  with_draw(source, [&](const auto& draw_block) {
    with_group(group_size, [&](auto group) {
      using Draw = std::remove_cvref_t<decltype(draw_block)>;
      constexpr int kGroup = decltype(group)::size;
      int64_t block = first / kNoiseBlock;
      for (int64_t i = 0; i < whole; i += kNoiseBlock) {
        group_dots_block<Draw, kGroup>(draw_block, block++, kNoiseBlock, gradient + i, dots + i / kGroup);
      }
      if (rest) {
        float padded[kNoiseBlock] = {};
        std::memcpy(padded, gradient + whole, sizeof(float) * static_cast<size_t>(rest));
        group_dots_block<Draw, kGroup>(draw_block, block, rest, padded, dots + whole / kGroup);
      }
    });
  });
}

// ---- groups ----

/// x rounded to a whole number, half to even, for |x| < 2^22: as a float and as an integer.
inline F whole_part(F x, I& whole) {
  const F shifted = x + splat(12582912.0f);  // 1.5 * 2^23: the last place of the sum is 1
  whole = as_int(shifted) - splat(0x4B400000);
  return shifted - splat(12582912.0f);
}

/// 2^whole * e^r for |r| <= 0.35, whole in [-126, 127].
inline F scaled_exp(F r, I whole) {
  static constexpr float kExp[8] = {1.f, 1.f, 1.f / 2, 1.f / 6, 1.f / 24, 1.f / 120, 1.f / 720, 1.f / 5040};
  return as_float(as_int(polynomial(kExp, 8, r)) + (whole << 23));
}

inline F exp(F x) {
  I whole;
  x = lane_min(lane_max(x, splat(-80.0f)), splat(80.0f));
  const F e = whole_part(x * splat(1.44269504f), whole);
  // ln 2 in two parts, the first of few digits, so that x - e ln 2 keeps its last bits
  return scaled_exp(fma(e, splat(-3.19461833e-5f), fma(e, splat(-.693115234375f), x)), whole);
}

inline F exp2(F x) {
  I whole;
  const F e = whole_part(x, whole);
  return scaled_exp((x - e) * splat(.693147181f), whole);
}

inline void group_scales_16(const GroupMap& map, F logits, F& scale, F& slope) {
  const F one = splat(1.0f);
  const F decay = exp(splat(0.0f) - logits);
  const F upper = one / (one + decay);  // σ(logit)
  const F lower = decay * upper;        // 1 - σ(logit), exact where it is small
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

}  // namespace
}  // namespace diffq
