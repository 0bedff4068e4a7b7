#pragma once
// The formulas of noise, levels and bits, stated once for vectors of any width: for sixteen lanes
// (kernel_template.h) and for one (device_bodies.h, CUDA). Included after the lanes_*.h that says what F
// (floats) and I (int32) are. Only +, -, *, /, fma and sqrt, each rounded once, so that all give the same
// bits.

#include <cstddef>
#include <cstdint>

#include "quant/kernels.h"

namespace diffq {
namespace {

template <size_t kCount>
DIFFQ_INLINE F polynomial(const float (&ascending)[kCount], F x) {
  F value = splat(ascending[kCount - 1]);
  DIFFQ_UNROLL
  for (int k = static_cast<int>(kCount) - 2; k >= 0; --k) value = fma(value, x, splat(ascending[k]));
  return value;
}

// The coefficients of noise.h times powers of two, which change no bit and spare instructions.
DIFFQ_CONSTANT float kScaledSine[3] = {kSine[0] * 0x1p-10f, kSine[1] * 0x1p-30f, kSine[2] * 0x1p-50f};
DIFFQ_CONSTANT float kScaledCosine[4] = {kCosine[0], kCosine[1] * 0x1p-20f, kCosine[2] * 0x1p-40f,
                                         kCosine[3] * 0x1p-60f};
/// -ln(1 - 2h) / 2 = h + h² P(h)
DIFFQ_CONSTANT float kHalfLog[6] = {kLog[0] * -2, kLog[1] * 4,   kLog[2] * -8,
                                    kLog[3] * 16, kLog[4] * -32, kLog[5] * 64};
/// e^x = Σ x^k / k!
DIFFQ_CONSTANT float kExp[8] = {1.f, 1.f, 1.f / 2, 1.f / 6, 1.f / 24, 1.f / 120, 1.f / 720, 1.f / 5040};

// ---- noise: see noise.h and noise_at for the formulas ----

/// Two of U(-1/2, 1/2) from a word.
DIFFQ_INLINE void uniform_pair(I word, F& first, F& second) {
  first = to_float(((word << 16) >> 15) | splat(1)) * splat(0x1p-17f);
  second = to_float((word >> 15) | splat(1)) * splat(0x1p-17f);
}

/// The square of Box-Muller's radius, halved: from 2^-22 to 21 ln 2 / 2. It is -ln(u) / 2 of u = 2^e m, where
/// u is in (0, 1) and m in [sqrt(1/2), sqrt(2)).
DIFFQ_INLINE F radius_squared(I word) {
  // The word's upper 20 bits are the last ones of 8 + u - 2^-21.
  const F u = as_float(shift_right_logical(word, 12) + splat(0x41000000)) - splat(8 - 0x1p-21f);
  const I exponent = (as_int(u) - splat(kSqrtHalfBits)) & splat(~0x7fffff);  // e 2^23
  const F h = fma(as_float(as_int(u) - exponent), splat(-.5f), splat(.5f));  // (1 - m) / 2, exact
  return fma(to_float(exponent), splat(kHalfLn2 * -0x1p-23f), fma(h * h, polynomial(kHalfLog, h), h));
}

/// Two of N(0, 1) / 2 from a word.
DIFFQ_INLINE void gaussian_pair(I word, F& first, F& second) {
  const F radius = sqrt(radius_squared(word));
  // 2^10 times noise_at's x, from the lower ten bits.
  const F x = fma(to_float(word << 22), splat(0x1p-22f), splat(0.5f));
  const F y = x * x;
  F sine = x * polynomial(kScaledSine, y);
  F cosine = flip_sign_where_bit<11>(word, polynomial(kScaledCosine, y));
  swap_where_bit<10>(word, sine, cosine);
  first = radius * cosine;
  second = radius * sine;
}

// ---- groups ----

/// x rounded to a whole number, half to even, for |x| < 2^22: as a float and as an integer.
DIFFQ_INLINE F whole_part(F x, I& whole) {
  const F shifted = x + splat(12582912.0f);  // 1.5 * 2^23: the last place of the sum is 1
  whole = as_int(shifted) - splat(0x4B400000);
  return shifted - splat(12582912.0f);
}

/// 2^whole * e^r for |r| <= 0.35, whole in [-126, 127].
DIFFQ_INLINE F scaled_exp(F r, I whole) { return as_float(as_int(polynomial(kExp, r)) + (whole << 23)); }

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
  upper = reciprocal(splat(1.0f) + decay);
  lower = decay * upper;
}

/// scale = 1 / (2^b - 1) and slope = ∂scale / ∂logit.
DIFFQ_INLINE void group_scale(const GroupMap& map, F logits, F& scale, F& slope) {
  const F one = splat(1.0f);
  F upper, lower;
  sigmoid(logits, upper, lower);
  if (map.parametrisation == Parametrisation::bits) {
    const F bits = splat(map.max_bits) * upper + splat(map.min_bits) * lower;
    scale = reciprocal(exp2(bits) - one);
    // ∂/∂b of 1 / (2^b - 1) is -ln2 2^b / (2^b - 1)² = -ln2 scale (1 + scale)
    slope = splat(-.693147181f * (map.max_bits - map.min_bits)) * (scale * (one + scale)) * (upper * lower);
  } else {
    scale = exp(splat(map.log_scale_at_max) * upper + splat(map.log_scale_at_min) * lower);
    slope = scale * splat(map.log_scale_at_max - map.log_scale_at_min) * (upper * lower);
  }
}

/// ∂b / ∂logit.
DIFFQ_INLINE F bits_slope(const GroupMap& map, F logits) {
  if (map.parametrisation == Parametrisation::bits) {
    F upper, lower;
    sigmoid(logits, upper, lower);
    return splat(map.max_bits - map.min_bits) * (upper * lower);
  }
  F scale, slope;
  group_scale(map, logits, scale, slope);
  // b = log2(1 + 1 / scale)
  return splat(-1.44269504f) * slope / (scale * (splat(1.0f) + scale));
}

}  // namespace
}  // namespace diffq
