#pragma once
// One lane: a thread of a GPU. See lanes_plain.h for what each function does.

#include <math.h>
#include <string.h>

#include <cstdint>

#include "quant/device_code.h"

namespace diffq {
namespace {

using F = float;
using I = int32_t;

DIFFQ_INLINE F splat(float x) { return x; }
DIFFQ_INLINE I splat(int32_t x) { return x; }
DIFFQ_INLINE F to_float(I x) { return static_cast<float>(x); }
DIFFQ_INLINE F as_float(I x) {
  F y;
  memcpy(&y, &x, sizeof y);
  return y;
}
DIFFQ_INLINE I as_int(F x) {
  I y;
  memcpy(&y, &x, sizeof y);
  return y;
}
DIFFQ_INLINE I shift_right_logical(I x, int bits) { return static_cast<I>(static_cast<uint32_t>(x) >> bits); }
DIFFQ_INLINE F fma(F a, F b, F c) { return ::fmaf(a, b, c); }
/// 1/a, rounded to nearest, from a guess at it.
DIFFQ_INLINE F reciprocal_from_guess(F a, F guess) { return ::fmaf(::fmaf(-a, guess, 1.0f), guess, guess); }
/// For a from 2^-126 to 2^126: what a division does with it, without the branch for others.
DIFFQ_INLINE F reciprocal(F a) {
#ifdef __CUDACC__
  F guess;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(guess) : "f"(a));
  return reciprocal_from_guess(a, guess);
#else
  return 1.0f / a;
#endif
}
/// √a, rounded to nearest, from a guess at 1/√a.
DIFFQ_INLINE F root_from_inverse(F a, F inverse) {
  const F root = a * inverse;
  return ::fmaf(::fmaf(-root, root, a), 0.5f * inverse, root);
}
/// Of a number from 2^-101 on: what sqrtf does with it, without the branch for others.
DIFFQ_INLINE F sqrt(F a) {
#ifdef __CUDACC__
  F inverse;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(a));
  return root_from_inverse(a, inverse);
#else
  return ::sqrtf(a);
#endif
}
DIFFQ_INLINE F lane_min(F a, F b) { return a < b ? a : b; }
DIFFQ_INLINE F lane_max(F a, F b) { return a > b ? a : b; }

template <int kBit>
DIFFQ_INLINE F flip_sign_where_bit(I word, F x) {
  return as_float(as_int(x) ^ static_cast<I>((static_cast<uint32_t>(word) & (1u << kBit)) << (31 - kBit)));
}

/// word & (1 << kBit). nvcc makes three instructions of asking whether that is 0, where this makes one.
template <int kBit>
DIFFQ_INLINE I bit_of(I word) {
#ifdef __CUDACC__
  I bit;
  asm("and.b32 %0, %1, %2;" : "=r"(bit) : "r"(word), "n"(1 << kBit));
  return bit;
#else
  return word & (1 << kBit);
#endif
}

template <int kBit>
DIFFQ_INLINE void swap_where_bit(I word, F& a, F& b) {
  const bool swapped = bit_of<kBit>(word) != 0;
  const F old = a;
  a = swapped ? b : a;
  b = swapped ? old : b;
}

}  // namespace
}  // namespace diffq
