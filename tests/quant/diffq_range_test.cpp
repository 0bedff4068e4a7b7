// DiffQ with a range for each channel and with bits down to 0: what the model sees against the formulas
// restated in double, gradients against finite differences of them, and the packed bytes against what was
// evaluated.

#include <gtest/gtest.h>

#include "quant/grid.h"
#include "tests/quant/diffq_support.h"

namespace diffq {
namespace {

constexpr NoiseKey kKey{17, 3};

/// A tensor of channels with unlike ranges and random logits, noise and gradient.
struct Rig {
  MethodSpec method;
  at::Tensor weights, noise, gradient;
  Bound<DiffQ> bound;
  std::vector<double> noises, lows, highs;  ///< of every entry: its noise, the ends of its range

  Rig(const MethodSpec& spec, int64_t channels, int64_t length)
      : method(spec),
        weights((random_weights(channels * length).reshape({channels, length}) *
                 at::arange(1, channels + 1).unsqueeze(1))
                    .flatten()),
        noise(at::randn({channels * length}) * 0.5),
        gradient(at::randn({channels * length})),
        bound(std::make_unique<DiffQ>(spec, QuantSpec{}), {weights.reshape({channels, length})}) {
    tensor().own.copy_(at::randn_like(tensor().own) - (spec.min_bits == 0 || spec.clip == Clip::mse ? 3 : 0));
    tensor().gradient.copy_(gradient);
    at::Tensor inside = weights;
    if (spec.clip == Clip::mse) {  // without noise the model sees what is clipped
      bound.quantizer->use_given_noise({at::zeros_like(noise)});
      bound.quantizer->materialize(kKey);
      inside = tensor().compute.clone();
    }
    const int64_t parts = spec.range == RangeOf::channel ? channels : 1;
    const at::Tensor rows = inside.reshape({parts, -1});
    const auto of_entries = [&](const at::Tensor& ends) {
      return doubles(ends.unsqueeze(1).expand_as(rows).reshape({-1}));
    };
    lows = of_entries(rows.amin(1));
    highs = of_entries(rows.amax(1));
    noises = doubles(noise);
    bound.quantizer->use_given_noise({noise});
  }
  QuantizedTensor& tensor() { return bound.tensors[0]; }

  bool is_clipped(size_t i, double weight) const { return weight < lows[i] || weight > highs[i]; }
  /// What the model sees; the ranges do not move.
  double seen(size_t i, double weight, double logit) const {
    const double bits = bits_of_logit(method, logit), scale = 1 / (std::exp2(std::max(bits, 1.0)) - 1);
    const double inside = method.clip == Clip::mse ? std::clamp(weight, lows[i], highs[i]) : weight;
    return (method.min_bits == 0 ? std::min(bits, 1.0) : 1.0) *
           (inside + (highs[i] - lows[i]) * scale * noises[i]);
  }
};

MethodSpec channel_method(int64_t group_size, Clip clip = Clip::minmax) {
  MethodSpec method = diffq_method(group_size);
  method.range = RangeOf::channel;
  method.clip = clip;
  return method;
}

MethodSpec vanishing_method(int64_t group_size, RangeOf range = RangeOf::tensor) {
  MethodSpec method = diffq_method(group_size);
  method.min_bits = 0;
  method.range = range;
  return method;
}

class AnyRange : public testing::TestWithParam<MethodSpec> {};
INSTANTIATE_TEST_SUITE_P(DiffQ, AnyRange,
                         testing::Values(channel_method(8), channel_method(7), channel_method(0),
                                         channel_method(8, Clip::mse), channel_method(7, Clip::mse),
                                         channel_method(0, Clip::mse), vanishing_method(8),
                                         vanishing_method(7), vanishing_method(100),
                                         vanishing_method(8, RangeOf::channel),
                                         vanishing_method(9, RangeOf::channel)));

/// Of 5 channels: within a piece of work, and over several.
TEST_P(AnyRange, NoiseAndGradientsAreThoseOfTheFormula) {
  for (const int64_t length : {27, 8000}) {
    const MethodSpec method = GetParam();
    Rig rig(method, 5, length);
    const auto n = static_cast<size_t>(5 * length);
    const size_t group = method.group_size == 0 ? n : static_cast<size_t>(method.group_size);
    rig.bound.quantizer->materialize(kKey);
    const std::vector<double> weights = doubles(rig.weights), logits = doubles(rig.tensor().own),
                              gradient = doubles(rig.gradient), seen = doubles(rig.tensor().compute);
    for (size_t i = 0; i < n; ++i)
      ASSERT_NEAR(seen[i], rig.seen(i, weights[i], logits[i / group]), 2e-5 * (1 + std::fabs(seen[i]))) << i;
    rig.bound.pull_back();
    const std::vector<double> own = doubles(rig.tensor().own_gradient),
                              pulled = doubles(rig.tensor().gradient);
    size_t below_one = 0, clipped = 0;
    for (size_t k = 0; k < logits.size(); ++k) {
      below_one += bits_of_logit(method, logits[k]) < 1;
      const double expected = slope(
          [&](double h) {
            double sum = 0;
            for (size_t i = k * group; i < std::min(n, (k + 1) * group); ++i)
              sum += gradient[i] * rig.seen(i, weights[i], logits[k] + h);
            return sum;
          },
          1e-5);
      ASSERT_NEAR(own[k], expected, 1e-3 * (1 + std::fabs(expected))) << k;
    }
    EXPECT_EQ(below_one > 0, method.min_bits == 0) << "the case is tried";
    // Of the published range the extremes have a gradient too; of channels and clipped ranges none does.
    double range_part = 0,
           noise_part = 0;  // noise_part: ∂loss/∂range, which the largest and the smallest both have
    for (size_t i = 0; i < n; ++i) {
      clipped += rig.is_clipped(i, weights[i]);
      const double bits = bits_of_logit(method, logits[i / group]);
      const double keep = rig.is_clipped(i, weights[i]) ? 0
                          : method.min_bits == 0        ? std::min(bits, 1.0)
                                                        : 1.0;
      noise_part += gradient[i] * (rig.seen(i, weights[i], logits[i / group]) - keep * weights[i]) /
                    (rig.highs[i] - rig.lows[i]);
      if (method.range == RangeOf::tensor && (weights[i] == rig.lows[i] || weights[i] == rig.highs[i])) {
        range_part += (weights[i] == rig.highs[i] ? 1 : -1) * (pulled[i] - keep * gradient[i]);
        continue;
      }
      ASSERT_NEAR(pulled[i], keep * gradient[i], 1e-5 * (1 + std::fabs(gradient[i]))) << i;
    }
    EXPECT_EQ(clipped > 0, method.clip == Clip::mse);
    if (method.range == RangeOf::tensor) {
      EXPECT_NEAR(range_part, 2 * noise_part, 1e-3 * (1 + std::fabs(noise_part)));
    }
  }
}

TEST_P(AnyRange, IsPackedAsItIsEvaluatedAndCounted) {
  for (const Clip clip : {Clip::minmax, Clip::mse}) {
    MethodSpec method = GetParam();
    method.clip = clip;
    Rig rig(method, 12, 45);
    rig.bound.quantizer->materialize_rounded();
    std::vector<float> restored(540);
    const std::vector<int> bits = rig.bound.quantizer->bits()[0].bits;
    EXPECT_EQ(std::ranges::count(bits, 0) > 0, method.min_bits == 0);
    for (const Coding coding : {Coding::bits, Coding::zstd}) {
      const std::vector<uint8_t> packed = rig.bound.quantizer->pack(0, coding);
      unpack_tensor(rig.bound.quantizer->layout(0), coding, packed, restored.data());
      EXPECT_TRUE(at::equal(tensor_of(restored), rig.tensor().compute));
      const double counted = rig.bound.quantizer->size_mb() * (1 << 20);
      if (coding == Coding::bits) {
        EXPECT_LE(static_cast<double>(packed.size()), counted + 17);
        const double table =
            0.5 * static_cast<double>(bits.size()) + 1;  // at most, where all have the same bits
        EXPECT_GE(static_cast<double>(packed.size()), counted - table);
      }
    }
    for (size_t i = 0; i < restored.size(); ++i) {
      const size_t group = method.group_size == 0 ? restored.size() : static_cast<size_t>(method.group_size);
      EXPECT_TRUE(bits[i / group] > 0 || restored[i] == 0) << i;
    }
  }
}

TEST(ChannelRange, RoundsChannelsOfUnlikeRangesWithLessError) {
  const auto error = [](RangeOf range) {
    MethodSpec method = diffq_method(8);
    method.range = range;
    Rig rig(method, 32, 200);
    rig.tensor().own.fill_(-1);
    rig.bound.quantizer->materialize_rounded();
    return (rig.tensor().compute - rig.weights).square().sum().item<double>();
  };
  EXPECT_LT(error(RangeOf::channel), 0.6 * error(RangeOf::tensor));
}

TEST(ChannelRange, ATensorOfOneDimensionHasOne) {
  Bound<DiffQ> usual = make(diffq_method(8), {random_weights(1000)}),
               by_channel = make(channel_method(8), {random_weights(1000)});
  for (Bound<DiffQ>* bound : {&usual, &by_channel}) {
    bound->tensors[0].gradient.fill_(1);
    bound->quantizer->materialize(kKey);
    bound->pull_back();
  }
  EXPECT_TRUE(at::equal(usual.tensors[0].compute, by_channel.tensors[0].compute));
  EXPECT_TRUE(at::equal(usual.tensors[0].gradient, by_channel.tensors[0].gradient));
  EXPECT_EQ(usual.quantizer->size_mb(), by_channel.quantizer->size_mb());
}

TEST(VanishingGroups, ASizeBelowOneBitIsMet) {
  Bound<DiffQ> bound = make(vanishing_method(8), {random_weights(20000)});
  const double one_bit = (20000.0 * 1 + 72 + 2500 * 4) / kBitsPerMb;
  bound.quantizer->fit_size(0.8 * one_bit);
  EXPECT_LE(bound.quantizer->size_mb(), 0.8 * one_bit);
  EXPECT_GT(bound.quantizer->size_mb(), 0.75 * one_bit);
  bound.tensors[0].own.fill_(-100);
  EXPECT_NEAR(bound.quantizer->size_mb(), (72 + 2500) / kBitsPerMb, 1e-12)
      << "a bit a group says that it has vanished";
  bound.quantizer->materialize(kKey);
  EXPECT_EQ(bound.tensors[0].compute.abs().max().item<float>(), 0);
}

TEST(VanishingGroups, FrozenOnesHaveNoGradient) {
  Rig rig(vanishing_method(8), 5, 27);
  rig.bound.quantizer->freeze();
  rig.bound.quantizer->materialize(kKey);
  rig.bound.pull_back();
  const std::vector<int> bits = rig.bound.quantizer->bits()[0].bits;
  ASSERT_GT(std::ranges::count(bits, 0), 0);
  for (int64_t i = 0; i < 135; ++i) {
    const float expected = bits[static_cast<size_t>(i / 8)] == 0 ? 0 : rig.gradient[i].item<float>();
    EXPECT_EQ(rig.tensor().gradient[i].item<float>(), expected) << i;
  }
}

TEST(VanishingGroups, AreForShortGroupsAndTheParametrisationOfBits) {
  EXPECT_THROW(DiffQ(vanishing_method(0), {}), std::invalid_argument);
  EXPECT_THROW(DiffQ(vanishing_method(257), {}), std::invalid_argument);
  MethodSpec noise = vanishing_method(8);
  noise.parametrisation = Parametrisation::noise;
  EXPECT_THROW(DiffQ(noise, {}), std::invalid_argument);
}

}  // namespace
}  // namespace diffq
