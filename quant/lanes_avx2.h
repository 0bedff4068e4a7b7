#pragma once
// Sixteen lanes in two AVX2 registers. See lanes_plain.h for what each function does.

#include <immintrin.h>

#include <cstdint>

#include "quant/round_keys.h"

namespace diffq {
namespace {

struct F {
  __m256 low, high;
};
struct I {
  __m256i low, high;
};

DIFFQ_INLINE F operator+(F a, F b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
DIFFQ_INLINE F operator-(F a, F b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
DIFFQ_INLINE F operator*(F a, F b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
DIFFQ_INLINE F operator/(F a, F b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
DIFFQ_INLINE I operator+(I a, I b) {
  return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}
DIFFQ_INLINE I operator-(I a, I b) {
  return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)};
}
DIFFQ_INLINE I operator&(I a, I b) {
  return {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)};
}
DIFFQ_INLINE I operator|(I a, I b) {
  return {_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)};
}
DIFFQ_INLINE I operator^(I a, I b) {
  return {_mm256_xor_si256(a.low, b.low), _mm256_xor_si256(a.high, b.high)};
}
DIFFQ_INLINE I operator<<(I a, int bits) {
  return {_mm256_slli_epi32(a.low, bits), _mm256_slli_epi32(a.high, bits)};
}
DIFFQ_INLINE I operator>>(I a, int bits) {
  return {_mm256_srai_epi32(a.low, bits), _mm256_srai_epi32(a.high, bits)};
}

DIFFQ_INLINE F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
DIFFQ_INLINE void store(float* p, F x) {
  _mm256_storeu_ps(p, x.low);
  _mm256_storeu_ps(p + 8, x.high);
}
DIFFQ_INLINE F splat(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
DIFFQ_INLINE I splat(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
DIFFQ_INLINE F to_float(I x) { return {_mm256_cvtepi32_ps(x.low), _mm256_cvtepi32_ps(x.high)}; }
DIFFQ_INLINE F as_float(I x) { return {_mm256_castsi256_ps(x.low), _mm256_castsi256_ps(x.high)}; }
DIFFQ_INLINE I as_int(F x) { return {_mm256_castps_si256(x.low), _mm256_castps_si256(x.high)}; }
DIFFQ_INLINE I shift_right_logical(I x, int bits) {
  return {_mm256_srli_epi32(x.low, bits), _mm256_srli_epi32(x.high, bits)};
}
DIFFQ_INLINE F fma(F a, F b, F c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
DIFFQ_INLINE F reciprocal(F a) { return splat(1.0f) / a; }
DIFFQ_INLINE F sqrt(F a) { return {_mm256_sqrt_ps(a.low), _mm256_sqrt_ps(a.high)}; }
DIFFQ_INLINE F lane_min(F a, F b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
DIFFQ_INLINE F lane_max(F a, F b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }

DIFFQ_INLINE __m256 pair_sums_8(__m256 a, __m256 b) {
  // The instruction leaves the halves of a and b alternating; put them in order.
  return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_hadd_ps(a, b)), 0xD8));
}
DIFFQ_INLINE F pair_sums(F a, F b) { return {pair_sums_8(a.low, a.high), pair_sums_8(b.low, b.high)}; }

template <int kGroup>
DIFFQ_INLINE F spread(const float* values) {
  if constexpr (kGroup == 1) return load(values);
  if constexpr (kGroup >= 16) return splat(*values);
  if constexpr (kGroup == 8) return {_mm256_set1_ps(values[0]), _mm256_set1_ps(values[1])};
  constexpr int g = kGroup;
  const __m256 all = _mm256_loadu_ps(values);
  const __m256i low = _mm256_setr_epi32(0, 1 / g, 2 / g, 3 / g, 4 / g, 5 / g, 6 / g, 7 / g);
  const __m256i high = _mm256_add_epi32(low, _mm256_set1_epi32(8 / g));
  return {_mm256_permutevar8x32_ps(all, low), _mm256_permutevar8x32_ps(all, high)};
}

template <int kBit>
DIFFQ_INLINE F flip_sign_where_bit(I word, F x) {
  return as_float(as_int(x) ^ ((word << (31 - kBit)) & splat(INT32_MIN)));
}

template <int kBit>
DIFFQ_INLINE void swap_where_bit(I word, F& a, F& b) {
  // A blend goes by the lanes' signs.
  const F by = as_float(word << (31 - kBit)), old = a;
  a = {_mm256_blendv_ps(a.low, b.low, by.low), _mm256_blendv_ps(a.high, b.high, by.high)};
  b = {_mm256_blendv_ps(b.low, old.low, by.low), _mm256_blendv_ps(b.high, old.high, by.high)};
}

/// Counters sit in 64-bit lanes, the even ones in one register and the odd ones in another; only the lower
/// half of a lane counts, since the multiplication ignores the upper one.
struct Counters {
  __m256i c0, c1, c2, c3;

  DIFFQ_INLINE void round(__m256i key0, __m256i key1) {
    const __m256i p0 = _mm256_mul_epu32(c0, _mm256_set1_epi64x(kPhiloxMultiplier0));
    const __m256i p1 = _mm256_mul_epu32(c2, _mm256_set1_epi64x(kPhiloxMultiplier1));
    c0 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p1, 32), c1), key0);
    c2 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p0, 32), c3), key1);
    c1 = p1;
    c3 = p0;
  }
};

DIFFQ_INLINE __m256i interleave(__m256i even, __m256i odd) {
  return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
}

/// The words of eight counters, from `first`.
DIFFQ_INLINE void philox_8(const NoiseSource& source, const RoundKeys& keys, uint64_t first,
                           __m256i words[4]) {
  const __m256i lanes = _mm256_setr_epi64x(0, 2, 4, 6);
  const __m256i tensor = _mm256_set1_epi64x(source.tensor), step = _mm256_set1_epi64x(source.step);
  const __m256i high = _mm256_set1_epi64x(static_cast<int64_t>(first >> 32));
  Counters even{_mm256_add_epi64(_mm256_set1_epi64x(static_cast<uint32_t>(first)), lanes), tensor, step,
                high};
  Counters odd = even;
  odd.c0 = _mm256_add_epi64(even.c0, _mm256_set1_epi64x(1));
#pragma GCC unroll 10
  for (int k = 0; k < kPhiloxRounds; ++k) {
    const __m256i key0 = _mm256_set1_epi64x(keys.key0[k]), key1 = _mm256_set1_epi64x(keys.key1[k]);
    even.round(key0, key1);
    odd.round(key0, key1);
  }
  words[0] = interleave(even.c0, odd.c0);
  words[1] = interleave(even.c1, odd.c1);
  words[2] = interleave(even.c2, odd.c2);
  words[3] = interleave(even.c3, odd.c3);
}

DIFFQ_INLINE void philox_block(const NoiseSource& source, const RoundKeys& keys, int64_t block, I words[4]) {
  const uint64_t index = 16 * static_cast<uint64_t>(block);
  __m256i low[4], high[4];
  philox_8(source, keys, index, low);
  philox_8(source, keys, index + 8, high);
  for (int k = 0; k < 4; ++k) words[k] = {low[k], high[k]};
}

}  // namespace
}  // namespace diffq
