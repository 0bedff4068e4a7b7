#pragma once
// Sums in double whose order depends on nothing but the number of terms: eight running sums side by side
// (which the compiler turns into vectors), then a tree over the eight.

#include <cstdint>

namespace diffq {

/// Σ term(i) for i in [0, n).
template <class Term>
inline double ordered_sum(int64_t n, const Term& term) {
  double sums[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int64_t k = 0; k < 8; ++k) sums[k] += term(i + k);
  }
  for (; i < n; ++i) sums[i % 8] += term(i);
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

/// Σ a b.
inline double ordered_dot(const float* a, const float* b, int64_t n) {
  return ordered_sum(n, [=](int64_t i) { return double{a[i]} * double{b[i]}; });
}

}  // namespace diffq
