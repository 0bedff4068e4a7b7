#include "trainer/mixup.h"

#include <ATen/core/PhiloxRNGEngine.h>
#include <torch/torch.h>

#include <cmath>

namespace diffq {
namespace {

constexpr uint64_t kMixTag = 0x6d69787570;  // "mixup": keeps these draws apart from others of the same seed

/// Uniform in (0, 1).
double draw_uniform(at::Philox4_32& random) { return (static_cast<double>(random()) + 0.5) * 0x1p-32; }

/// Beta(alpha, alpha), by Jöhnk's method.
double draw_beta(double alpha, at::Philox4_32& random) {
  while (true) {
    const double x = std::pow(draw_uniform(random), 1 / alpha), y = std::pow(draw_uniform(random), 1 / alpha);
    if (x + y <= 1 && x + y > 0) return x / (x + y);
  }
}

/// A box of `area` of the picture around a random centre, cut at the edges; then the share that is really
/// left.
void draw_box(double area, int64_t height, int64_t width, at::Philox4_32& random, PairMix& mix) {
  const auto side = [&](int64_t length, int64_t& begin, int64_t& end) {
    const auto half = static_cast<int64_t>(static_cast<double>(length) * std::sqrt(area)) / 2;
    const auto centre = static_cast<int64_t>(draw_uniform(random) * static_cast<double>(length));
    begin = std::max<int64_t>(0, centre - half);
    end = std::min(length, centre + half);
  };
  side(height, mix.top, mix.bottom);
  side(width, mix.left, mix.right);
  mix.cut = true;
  mix.share = 1 - static_cast<double>((mix.bottom - mix.top) * (mix.right - mix.left)) /
                      static_cast<double>(height * width);
}

}  // namespace

PairMix draw_pair_mix(const MixSpec& spec, int64_t height, int64_t width, uint64_t seed, int64_t epoch,
                      int64_t pair) {
  // More room for a pair than it will ever draw from.
  at::Philox4_32 random(seed ^ kMixTag, static_cast<uint64_t>(pair), static_cast<uint64_t>(epoch) << 32);
  const bool cut = spec.mixup == 0 || (spec.cutmix > 0 && draw_uniform(random) < 0.5);
  PairMix mix;
  mix.share = draw_beta(cut ? spec.cutmix : spec.mixup, random);
  if (cut) draw_box(1 - mix.share, height, width, random, mix);
  return mix;
}

Batch mix_batch(Batch batch, int64_t classes, const MixSpec& spec, uint64_t seed, int64_t epoch,
                int64_t first_place) {
  if (!spec.mixes()) return batch;
  const int64_t count = batch.input.size(0), height = batch.input.size(2), width = batch.input.size(3);
  TORCH_CHECK(count % 2 == 0 && first_place % 2 == 0, "mixup: a batch cuts a pair in two");
  at::Tensor shares = at::empty({count}, at::kFloat);
  const at::Tensor partner = at::arange(count).bitwise_xor(1);
  at::Tensor mixed = batch.input.clone();
  for (int64_t i = 0; i < count; i += 2) {
    const PairMix mix = draw_pair_mix(spec, height, width, seed, epoch, (first_place + i) / 2);
    shares.narrow(0, i, 2).fill_(mix.share);
    const at::Tensor pair = batch.input.narrow(0, i, 2), swapped = pair.flip(0);
    at::Tensor out = mixed.narrow(0, i, 2);
    if (!mix.cut) {
      out.mul_(mix.share).add_(swapped, 1 - mix.share);
    } else {
      const auto box = [&](const at::Tensor& pictures) {
        return pictures.slice(2, mix.top, mix.bottom).slice(3, mix.left, mix.right);
      };
      box(out).copy_(box(swapped));
    }
  }
  const at::Tensor own = at::one_hot(batch.target, classes).to(at::kFloat), share = shares.unsqueeze(1);
  return {mixed, own * share + own.index_select(0, partner) * (1 - share)};
}

}  // namespace diffq
