#pragma once
// Sixteen lanes in one AVX-512 register. See lanes_plain.h for what each function does.

#include <immintrin.h>

#include <cstdint>

#include "quant/round_keys.h"

namespace diffq {
namespace {

typedef float F __attribute__((vector_size(64)));
typedef int32_t I __attribute__((vector_size(64)));

DIFFQ_INLINE F load(const float* p) { return _mm512_loadu_ps(p); }
DIFFQ_INLINE void store(float* p, F x) { _mm512_storeu_ps(p, x); }
DIFFQ_INLINE F splat(float x) { return _mm512_set1_ps(x); }
DIFFQ_INLINE I splat(int32_t x) { return (I)_mm512_set1_epi32(x); }
DIFFQ_INLINE F to_float(I x) { return _mm512_cvtepi32_ps((__m512i)x); }
DIFFQ_INLINE F as_float(I x) { return (F)x; }
DIFFQ_INLINE I as_int(F x) { return (I)x; }
DIFFQ_INLINE I shift_right_logical(I x, int bits) {
  return (I)_mm512_srli_epi32((__m512i)x, static_cast<unsigned>(bits));
}
DIFFQ_INLINE F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
DIFFQ_INLINE F reciprocal(F a) { return splat(1.0f) / a; }
DIFFQ_INLINE F sqrt(F a) { return _mm512_sqrt_ps(a); }
DIFFQ_INLINE F lane_min(F a, F b) { return _mm512_min_ps(a, b); }
DIFFQ_INLINE F lane_max(F a, F b) { return _mm512_max_ps(a, b); }

DIFFQ_INLINE F pair_sums(F a, F b) {
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  return F(_mm512_permutex2var_ps(a, even, b)) + F(_mm512_permutex2var_ps(a, odd, b));
}

template <int kGroup>
DIFFQ_INLINE F spread(const float* values) {
  if constexpr (kGroup == 1) return load(values);
  if constexpr (kGroup >= 16) return splat(*values);
  constexpr int g = kGroup;
  const __m512i from = _mm512_setr_epi32(0, 1 / g, 2 / g, 3 / g, 4 / g, 5 / g, 6 / g, 7 / g, 8 / g, 9 / g,
                                         10 / g, 11 / g, 12 / g, 13 / g, 14 / g, 15 / g);
  return _mm512_permutexvar_ps(from, _mm512_castps256_ps512(_mm256_loadu_ps(values)));
}

template <int kBit>
DIFFQ_INLINE F flip_sign_where_bit(I word, F x) {
  const __m512i moved = _mm512_slli_epi32((__m512i)word, 31 - kBit), sign = _mm512_set1_epi32(INT32_MIN);
  constexpr int kXorWithAnd = 0x78;  // a ^ (b & c)
  return (F)_mm512_ternarylogic_epi32((__m512i)x, moved, sign, kXorWithAnd);
}

template <int kBit>
DIFFQ_INLINE void swap_where_bit(I word, F& a, F& b) {
  const __mmask16 swapped = _mm512_test_epi32_mask((__m512i)word, _mm512_set1_epi32(1 << kBit));
  const F old = a;
  a = _mm512_mask_blend_ps(swapped, a, b);
  b = _mm512_mask_blend_ps(swapped, b, old);
}

/// Counters sit in 64-bit lanes, the even ones in one register and the odd ones in another; only the lower
/// half of a lane counts, since the multiplication ignores the upper one.
struct Counters {
  __m512i c0, c1, c2, c3;

  DIFFQ_INLINE void round(__m512i key0, __m512i key1) {
    const __m512i p0 = _mm512_mul_epu32(c0, _mm512_set1_epi64(kPhiloxMultiplier0));
    const __m512i p1 = _mm512_mul_epu32(c2, _mm512_set1_epi64(kPhiloxMultiplier1));
    constexpr int kXorOfThree = 0x96;
    c0 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p1, 32), c1, key0, kXorOfThree);
    c2 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p0, 32), c3, key1, kXorOfThree);
    c1 = p1;
    c3 = p0;
  }
};

DIFFQ_INLINE I interleave(__m512i even, __m512i odd) {
  return (I)_mm512_mask_shuffle_epi32(even, 0xAAAA, odd, _MM_PERM_CCAA);
}

DIFFQ_INLINE void philox_block(const NoiseSource& source, const RoundKeys& keys, int64_t block, I words[4]) {
  const uint64_t index = 16 * static_cast<uint64_t>(block);
  const __m512i lanes = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
  const __m512i tensor = _mm512_set1_epi64(source.tensor), step = _mm512_set1_epi64(source.step);
  const __m512i high = _mm512_set1_epi64(static_cast<int64_t>(index >> 32));
  Counters even{_mm512_add_epi64(_mm512_set1_epi64(static_cast<uint32_t>(index)), lanes), tensor, step, high};
  Counters odd = even;
  odd.c0 = _mm512_add_epi64(even.c0, _mm512_set1_epi64(1));
#pragma GCC unroll 10
  for (int k = 0; k < kPhiloxRounds; ++k) {
    const __m512i key0 = _mm512_set1_epi64(keys.key0[k]), key1 = _mm512_set1_epi64(keys.key1[k]);
    even.round(key0, key1);
    odd.round(key0, key1);
  }
  words[0] = interleave(even.c0, odd.c0);
  words[1] = interleave(even.c1, odd.c1);
  words[2] = interleave(even.c2, odd.c2);
  words[3] = interleave(even.c3, odd.c3);
}

}  // namespace
}  // namespace diffq
