#pragma once
// The keys of Philox's rounds, worked out once a call of a kernel. Included by the lanes_*.h.

#include <cstdint>

#include "quant/noise.h"

namespace diffq {
namespace {

/// Widened to 64 bits, as the vector kernels want them.
struct RoundKeys {
  int64_t key0[kPhiloxRounds], key1[kPhiloxRounds];

  explicit RoundKeys(uint64_t seed) {
    const PhiloxKeys keys = PhiloxKeys::of(seed);
    for (int k = 0; k < kPhiloxRounds; ++k) {
      key0[k] = keys.key0[k];
      key1[k] = keys.key1[k];
    }
  }
};

}  // namespace
}  // namespace diffq
