#include "datasets/augment.h"

#include <ATen/core/PhiloxRNGEngine.h>

namespace diffq {
namespace {

constexpr uint64_t kAugmentTag =
    0x6175676d656e74;  // "augment": keeps these draws apart from others of the same seed

int64_t margin(int64_t length, int64_t crop) { return crop == 0 ? 0 : length - crop; }

}  // namespace

Window training_window(const AugmentSpec& spec, int64_t height, int64_t width, const AugmentKey& key,
                       int64_t sample) {
  // Two blocks of four words an epoch, of which five words are used.
  at::Philox4_32 random(key.seed ^ kAugmentTag, static_cast<uint64_t>(sample),
                        2 * static_cast<uint64_t>(key.epoch));
  const auto draw_below = [&](int64_t bound) {
    return static_cast<int64_t>((uint64_t{random()} * static_cast<uint64_t>(bound)) >> 32);
  };
  const int64_t down = draw_below(2 * spec.shift + 1) - spec.shift;
  const int64_t right = draw_below(2 * spec.shift + 1) - spec.shift;
  const int64_t top = draw_below(margin(height, spec.crop) + 1);
  const int64_t left = draw_below(margin(width, spec.crop) + 1);
  const bool mirrored = draw_below(2) == 1 && spec.flip;
  return {top - down, left - right, mirrored};
}

Window central_window(const AugmentSpec& spec, int64_t height, int64_t width) {
  return {margin(height, spec.crop) / 2, margin(width, spec.crop) / 2, false};
}

}  // namespace diffq
