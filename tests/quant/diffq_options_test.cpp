// What DiffQ has beyond its publication: noise of another power, clipped ranges, frozen bits.

#include <gtest/gtest.h>

#include "quant/grid.h"
#include "tests/quant/diffq_support.h"

namespace diffq {
namespace {

constexpr NoiseKey kKey{17, 3};

Bound<DiffQ> make_with(MethodSpec method, const at::Tensor& weights) {
  Bound<DiffQ> bound = make(method, {weights});
  bound.tensors[0].own.copy_(at::randn_like(bound.tensors[0].own));
  bound.tensors[0].gradient.copy_(at::randn_like(weights));
  return bound;
}

MethodSpec clipping(int64_t group_size) {
  MethodSpec method = diffq_method(group_size);
  method.clip = Clip::mse;
  return method;
}

/// Ends of the levels, from the smallest and largest that rounding gives with groups of both.
Extremes seen_ends(Bound<DiffQ>& bound) {
  bound.quantizer->materialize_rounded();
  const at::Tensor& compute = bound.tensors[0].compute;
  return {compute.min().item<float>(), compute.max().item<float>()};
}

TEST(MatchedNoise, IsTheNormalNoiseWithThePowerOfRounding) {
  for (const int64_t group : {8, 6, 0}) {
    const at::Tensor weights = random_weights(40001);
    Bound<DiffQ> usual = make_with(diffq_method(group), weights);
    Bound<DiffQ> matched = make_with(diffq_method(group, NoiseKind::matched), weights);
    matched.tensors[0].own.copy_(usual.tensors[0].own);
    matched.tensors[0].gradient.copy_(usual.tensors[0].gradient);
    const at::Tensor gradient = usual.tensors[0].gradient.clone();
    for (Bound<DiffQ>* bound : {&usual, &matched}) {
      bound->quantizer->materialize(kKey);
      bound->pull_back();
    }
    const double part = 2 / std::sqrt(12.0);
    const auto shift = [&](Bound<DiffQ>& bound) { return bound.tensors[0].compute - weights; };
    EXPECT_LT(relative_difference(shift(matched), shift(usual) * part), 1e-4) << group;
    EXPECT_LT(relative_difference(matched.tensors[0].own_gradient, usual.tensors[0].own_gradient * part),
              1e-5);
    const auto range_gradient = [&](Bound<DiffQ>& bound) { return bound.tensors[0].gradient - gradient; };
    EXPECT_LT(relative_difference(range_gradient(matched), range_gradient(usual) * part), 1e-4);
    // 8 bits everywhere: noise in units of a level has variance 1/12.
    matched.tensors[0].own.fill_(std::log(6.0 / 7.0));
    matched.quantizer->materialize(kKey);
    const double level = (weights.max() - weights.min()).item<double>() / 255;
    EXPECT_NEAR(shift(matched).std().item<double>() / level, std::sqrt(1 / 12.0), 0.01);
  }
}

TEST(ClippedRange, NoiseIsAddedToWhatIsClipped) {
  for (const int64_t group : {8, 6, 0}) {
    const at::Tensor weights = random_weights(30000);
    Bound<DiffQ> bound = make_with(clipping(group), weights);
    bound.tensors[0].own.fill_(-3);  // few bits, so that much is clipped
    bound.quantizer->use_given_noise({at::zeros_like(weights)});
    bound.quantizer->materialize(kKey);
    const float low = bound.tensors[0].compute.min().item<float>(),
                high = bound.tensors[0].compute.max().item<float>();
    EXPECT_GT(low, weights.min().item<float>());
    EXPECT_LT(high, weights.max().item<float>());
    EXPECT_TRUE(at::equal(bound.tensors[0].compute, weights.clamp(low, high)));
    const at::Tensor before = bound.tensors[0].gradient.clone();
    bound.pull_back();
    const at::Tensor inside = weights.ge(low).logical_and(weights.le(high));
    EXPECT_TRUE(at::equal(bound.tensors[0].gradient, before * inside)) << "the range has no gradient";

    const at::Tensor noise = at::randn_like(weights) * 0.5;
    bound.quantizer->use_given_noise({noise});
    bound.quantizer->materialize(kKey);
    const double bits = bits_of_logit(clipping(group), -3), step = (high - low) / (std::exp2(bits) - 1);
    EXPECT_LT(relative_difference(bound.tensors[0].compute, weights.clamp(low, high) + noise * step), 1e-5);
  }
}

/// ∂/∂bits is that of the noise: all entries have a part in it, clipped ones too.
TEST(ClippedRange, GradientOfTheBits) {
  const at::Tensor weights = random_weights(4000);
  Bound<DiffQ> bound = make_with(clipping(8), weights);
  const at::Tensor noise = at::randn_like(weights) * 0.5, gradient = bound.tensors[0].gradient.clone();
  bound.quantizer->use_given_noise({noise});
  bound.quantizer->materialize(kKey);
  const at::Tensor shift = (bound.tensors[0].compute - weights).clone();
  bound.quantizer->use_given_noise({at::zeros_like(weights)});
  bound.quantizer->materialize(kKey);
  const double range = (bound.tensors[0].compute.max() - bound.tensors[0].compute.min()).item<double>();
  bound.quantizer->use_given_noise({noise});
  bound.pull_back();
  const std::vector<double> logits = doubles(bound.tensors[0].own);
  const at::Tensor dots = (gradient * noise).reshape({-1, 8}).sum(1);
  for (const size_t k : {size_t{0}, size_t{77}, logits.size() - 1}) {
    const double of_scale =
        slope([&](double h) { return 1 / (std::exp2(bits_of_logit(clipping(8), logits[k] + h)) - 1); }, 1e-4);
    const double expected = range * of_scale * dots[static_cast<int64_t>(k)].item<double>();
    EXPECT_NEAR(bound.tensors[0].own_gradient[static_cast<int64_t>(k)].item<double>(), expected,
                2e-3 * std::fabs(expected));
  }
}

TEST(ClippedRange, IsPackedAsItIsEvaluated) {
  for (const int64_t group : {8, 7, 0}) {
    const at::Tensor weights = random_weights(5000);
    Bound<DiffQ> bound = make_with(clipping(group), weights);
    bound.tensors[0].own.sub_(1.5);
    const Extremes ends = seen_ends(bound);
    EXPECT_GT(ends.min, weights.min().item<float>());
    EXPECT_LT(ends.max, weights.max().item<float>());
    std::vector<float> restored(5000);
    for (const Coding coding : {Coding::bits, Coding::zstd}) {
      const std::vector<uint8_t> packed = bound.quantizer->pack(0, coding);
      unpack_tensor(bound.quantizer->layout(0), coding, packed, restored.data());
      EXPECT_TRUE(at::equal(tensor_of(restored), bound.tensors[0].compute)) << group;
    }
  }
}

TEST(ClippedRange, RoundsWithLessError) {
  const at::Tensor weights = random_weights(50000);
  MethodSpec whole = diffq_method(8);
  const auto error = [&](const MethodSpec& method) {
    Bound<DiffQ> bound = make_with(method, weights);
    bound.tensors[0].own.fill_(-2);
    bound.quantizer->materialize_rounded();
    return (bound.tensors[0].compute - weights).square().sum().item<double>();
  };
  EXPECT_LT(error(clipping(8)), 0.6 * error(whole));
}

TEST(FrozenBits, TrainsWithTheRoundedWeights) {
  for (const Clip clip : {Clip::minmax, Clip::mse}) {
    for (const int64_t group : {8, 6, 0}) {
      const at::Tensor weights = random_weights(40000);
      MethodSpec method = diffq_method(group);
      method.clip = clip;
      Bound<DiffQ> bound = make_with(method, weights);
      bound.tensors[0].own.sub_(1);
      bound.quantizer->materialize_rounded();
      const at::Tensor rounded = bound.tensors[0].compute.clone(),
                       gradient = bound.tensors[0].gradient.clone();
      bound.quantizer->freeze();
      bound.quantizer->materialize(kKey);
      EXPECT_TRUE(at::equal(bound.tensors[0].compute, rounded));
      bound.pull_back();
      EXPECT_TRUE(at::all(bound.tensors[0].own_gradient == 0).item<bool>());
      const at::Tensor unchanged = bound.tensors[0].gradient == gradient;
      EXPECT_TRUE(at::all(unchanged.logical_or(bound.tensors[0].gradient == 0)).item<bool>());
      const double masked = 1 - unchanged.to(at::kDouble).mean().item<double>();
      EXPECT_EQ(masked > 0, clip == Clip::mse) << masked;
      EXPECT_LT(masked, 0.2);
    }
  }
}

}  // namespace
}  // namespace diffq
