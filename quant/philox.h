#pragma once
// Philox4x32-10 for one counter (Salmon et al., SC 2011). The vector kernels have it for sixteen at a time.

#include <cstdint>

#include "quant/device_code.h"

namespace diffq {

DIFFQ_CONSTANT uint32_t kPhiloxMultiplier0 = 0xD2511F53u, kPhiloxMultiplier1 = 0xCD9E8D57u;
/// The host's alone.
inline constexpr uint32_t kPhiloxWeyl0 = 0x9E3779B9u, kPhiloxWeyl1 = 0xBB67AE85u;
DIFFQ_CONSTANT int kPhiloxRounds = 10;

/// Four words, as a counter goes in and as random numbers come out.
struct PhiloxWords {
  uint32_t word[4];
};

/// Upper half of a product; the lower is a * b.
DIFFQ_INLINE uint32_t product_high(uint32_t a, uint32_t b) {
#ifdef __CUDACC__
  return __umulhi(a, b);
#else
  return static_cast<uint32_t>(uint64_t{a} * b >> 32);
#endif
}

/// The keys of all rounds, made once for many counters.
struct PhiloxKeys {
  uint32_t key0[kPhiloxRounds], key1[kPhiloxRounds];

  static PhiloxKeys of(uint64_t seed) {
    PhiloxKeys keys{};
    for (uint32_t round = 0; round < kPhiloxRounds; ++round) {
      keys.key0[round] = static_cast<uint32_t>(seed) + round * kPhiloxWeyl0;
      keys.key1[round] = static_cast<uint32_t>(seed >> 32) + round * kPhiloxWeyl1;
    }
    return keys;
  }
};

DIFFQ_INLINE PhiloxWords philox(PhiloxWords counter, const PhiloxKeys& keys) {
  DIFFQ_UNROLL
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint32_t a = counter.word[0], b = counter.word[2];
    counter = {
        product_high(kPhiloxMultiplier1, b) ^ counter.word[1] ^ keys.key0[round], kPhiloxMultiplier1 * b,
        product_high(kPhiloxMultiplier0, a) ^ counter.word[3] ^ keys.key1[round], kPhiloxMultiplier0 * a};
  }
  return counter;
}

/// The counter of entry i of a tensor, and of the 7 others that lie 16 apart in its block of 128.
DIFFQ_INLINE uint64_t noise_counter(int64_t i) {
  return 16 * (static_cast<uint64_t>(i) / 128) + (static_cast<uint64_t>(i) & 15);
}

DIFFQ_INLINE PhiloxWords noise_words(const PhiloxKeys& keys, uint32_t step, uint32_t tensor,
                                     uint64_t counter) {
  return philox({static_cast<uint32_t>(counter), tensor, step, static_cast<uint32_t>(counter >> 32)}, keys);
}

}  // namespace diffq
