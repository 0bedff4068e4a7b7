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

template <int kBit>
DIFFQ_INLINE void swap_where_bit(I word, F& a, F& b) {
  const bool swapped = (word & (1 << kBit)) != 0;
  const F old = a;
  a = swapped ? b : a;
  b = swapped ? old : b;
}

}  // namespace
}  // namespace diffq
