#pragma once
// Sixteen lanes in portable C++ (GCC's vector types): what lanes_avx2.h and lanes_avx512.h do with
// instructions. In an unnamed namespace on purpose: each kernels_*.cpp must keep the copy compiled with its
// own flags.

#include <cstdint>
#include <cstring>

#include "quant/round_keys.h"

namespace diffq {
namespace {

typedef float F __attribute__((vector_size(64)));
typedef int32_t I __attribute__((vector_size(64)));
typedef uint32_t U __attribute__((vector_size(64)));

DIFFQ_INLINE F load(const float* p) {
  F x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
DIFFQ_INLINE void store(float* p, F x) { std::memcpy(p, &x, sizeof x); }
DIFFQ_INLINE F splat(float x) { return F{} + x; }
DIFFQ_INLINE I splat(int32_t x) { return I{} + x; }
DIFFQ_INLINE F to_float(I x) { return __builtin_convertvector(x, F); }
DIFFQ_INLINE F as_float(I x) { return (F)x; }
DIFFQ_INLINE I as_int(F x) { return (I)x; }
DIFFQ_INLINE I shift_right_logical(I x, int bits) { return (I)((U)x >> bits); }
DIFFQ_INLINE F fma(F a, F b, F c) {
  for (int k = 0; k < 16; ++k) c[k] = __builtin_fmaf(a[k], b[k], c[k]);
  return c;
}
DIFFQ_INLINE F reciprocal(F a) { return splat(1.0f) / a; }
DIFFQ_INLINE F sqrt(F a) {
  for (int k = 0; k < 16; ++k) a[k] = __builtin_sqrtf(a[k]);
  return a;
}
DIFFQ_INLINE F lane_min(F a, F b) { return a < b ? a : b; }
DIFFQ_INLINE F lane_max(F a, F b) { return a > b ? a : b; }

/// Sums of neighbours: lanes 0-7 from a, 8-15 from b.
DIFFQ_INLINE F pair_sums(F a, F b) {
  F sums;
  for (int k = 0; k < 8; ++k) {
    sums[k] = a[2 * k] + a[2 * k + 1];
    sums[k + 8] = b[2 * k] + b[2 * k + 1];
  }
  return sums;
}

/// Lane k is values[k / kGroup].
template <int kGroup>
DIFFQ_INLINE F spread(const float* values) {
  F x;
  for (int k = 0; k < 16; ++k) x[k] = values[k / kGroup];
  return x;
}

/// -x where the word has the bit.
template <int kBit>
DIFFQ_INLINE F flip_sign_where_bit(I word, F x) {
  return as_float(as_int(x) ^ ((word & splat(1 << kBit)) << (31 - kBit)));
}

template <int kBit>
DIFFQ_INLINE void swap_where_bit(I word, F& a, F& b) {
  const I both = (as_int(a) ^ as_int(b)) & ((word << (31 - kBit)) >> 31);
  a = as_float(as_int(a) ^ both);
  b = as_float(as_int(b) ^ both);
}

/// The four words of the sixteen counters of a block.
DIFFQ_INLINE void philox_block(const NoiseSource& source, const RoundKeys& keys, int64_t block, I words[4]) {
  const uint64_t index = 16 * static_cast<uint64_t>(block);
  uint32_t c[4][16];
  for (uint32_t k = 0; k < 16; ++k) {
    c[0][k] = static_cast<uint32_t>(index) + k;
    c[1][k] = source.tensor;
    c[2][k] = source.step;
    c[3][k] = static_cast<uint32_t>(index >> 32);
  }
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const auto key0 = static_cast<uint32_t>(keys.key0[round]), key1 = static_cast<uint32_t>(keys.key1[round]);
    for (int k = 0; k < 16; ++k) {
      const uint64_t p0 = uint64_t{kPhiloxMultiplier0} * c[0][k], p1 = uint64_t{kPhiloxMultiplier1} * c[2][k];
      c[0][k] = static_cast<uint32_t>(p1 >> 32) ^ c[1][k] ^ key0;
      c[2][k] = static_cast<uint32_t>(p0 >> 32) ^ c[3][k] ^ key1;
      c[1][k] = static_cast<uint32_t>(p1);
      c[3][k] = static_cast<uint32_t>(p0);
    }
  }
  std::memcpy(words, c, sizeof c);
}

}  // namespace
}  // namespace diffq
