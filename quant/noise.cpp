#include "quant/noise.h"

#include <bit>
#include <cmath>

namespace diffq {
float uniform_noise(uint32_t word, bool second) {
  const int32_t bits = second ? static_cast<int32_t>(word) >> 15 : static_cast<int32_t>(word << 16) >> 15;
  return static_cast<float>(bits | 1) * 0x1p-17f;
}

float gaussian_noise(uint32_t word, bool second) {
  const float u = static_cast<float>(static_cast<int32_t>((word >> 11) | 1));
  const int32_t split = std::bit_cast<int32_t>(u) - kSqrtHalfBits;
  const float t = std::bit_cast<float>((split & 0x7fffff) + kSqrtHalfBits) - 1.0f;
  float p = kLog[5];
  for (int k = 4; k >= 0; --k) p = std::fma(p, t, kLog[k]);
  const float log_m = std::fma(t * t, p, t);
  // sqrt(-ln(u / 2^21) / 2), which is half of Box-Muller's radius
  const float radius = std::sqrt(std::fma(static_cast<float>(21 - (split >> 23)), kHalfLn2, -.5f * log_m));

  const float x = static_cast<float>((static_cast<int32_t>(word << 22) >> 21) | 1) * 0x1p-11f;
  const float y = x * x;
  const float sine = x * std::fma(std::fma(kSine[2], y, kSine[1]), y, kSine[0]);
  float cosine = std::fma(std::fma(std::fma(kCosine[3], y, kCosine[2]), y, kCosine[1]), y, kCosine[0]);
  if (word & 0x800) cosine = -cosine;
  const bool swapped = (word & 0x400) != 0;
  return radius * (second != swapped ? sine : cosine);
}

float noise_at(const NoiseSource& source, int64_t i) {
  if (source.given) return source.given[i];
  const PhiloxWords words =
      noise_words(PhiloxKeys::of(source.seed), source.step, source.tensor, noise_counter(i));
  const uint32_t word = words.word[(i >> 5) & 3];
  const bool second = (i >> 4) & 1;
  return source.kind == NoiseKind::uniform ? uniform_noise(word, second) : gaussian_noise(word, second);
}

}  // namespace diffq
