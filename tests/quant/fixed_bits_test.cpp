// QAT, PTQ and LSQ: their rounding by hand, gradients against finite differences of the surrogate in which
// round(u) - u is held constant, and their scales and sizes.

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "quant/lsq.h"
#include "quant/uniform.h"
#include "tests/quant/bound.h"

namespace diffq {
namespace {

MethodSpec spec(Method method, int bits, Clip clip = Clip::minmax) {
  MethodSpec made;
  made.method = method;
  made.bits = bits;
  made.clip = clip;
  return made;
}

Bound<Uniform> make_uniform(const MethodSpec& method, const std::vector<at::Tensor>& weights) {
  return {std::make_unique<Uniform>(method, QuantSpec{}), weights};
}

Bound<Lsq> make_lsq(int bits, const std::vector<at::Tensor>& weights) {
  return {std::make_unique<Lsq>(spec(Method::lsq, bits), QuantSpec{}), weights};
}

at::Tensor random_weights(int64_t n, uint64_t seed = 1) {
  at::manual_seed(seed);
  return at::randn({n}) * 0.3;
}

TEST(Qat, RoundsHalfToEvenOnTheGridOfItsRange) {
  // 2 bits over [0, 3]: the grid is 0, 1, 2, 3.
  Bound<Uniform> bound =
      make_uniform(spec(Method::qat, 2), {at::tensor({0.0f, 0.4f, 0.5f, 1.5f, 2.5f, 2.6f, 3.0f})});
  bound.quantizer->materialize({});
  EXPECT_TRUE(
      bound.tensors[0].compute.allclose(at::tensor({0.0f, 0.0f, 0.0f, 2.0f, 2.0f, 3.0f, 3.0f}), 0, 1e-6));
  EXPECT_TRUE(bound.quantizer->levels(0).equal(at::tensor({0, 0, 0, 2, 2, 3, 3}, at::kInt)));
}

TEST(Qat, EveryWidthHasItsLevelsAndErrors) {
  for (int bits = 1; bits <= 15; ++bits) {
    Bound<Uniform> bound = make_uniform(spec(Method::qat, bits), {random_weights(40000)});
    QuantizedTensor& tensor = bound.tensors[0];
    bound.quantizer->materialize({});
    const double range = (tensor.master.max() - tensor.master.min()).item<double>(),
                 top = std::exp2(bits) - 1;
    EXPECT_LE((tensor.compute - tensor.master).abs().max().item<double>(), range / top * 0.51) << bits;
    const at::Tensor levels = bound.quantizer->levels(0);
    EXPECT_EQ(levels.min().item<int>(), 0);
    EXPECT_EQ(levels.max().item<int>(), (1 << bits) - 1);
    EXPECT_DOUBLE_EQ(bound.quantizer->size_mb(), (bits * 40000.0 + 64) / 8 / 1048576);
    EXPECT_DOUBLE_EQ(bound.quantizer->expected_size_mb(), bound.quantizer->size_mb());
    EXPECT_EQ(bound.quantizer->bits()[0].bits, std::vector<int>{bits});
    EXPECT_EQ(bound.quantizer->bits()[0].group_size, 40000);
  }
}

TEST(Qat, GradientPassesAsIfNothingWereRounded) {
  Bound<Uniform> bound = make_uniform(spec(Method::qat, 3), {random_weights(1000)});
  bound.quantizer->materialize({});
  const at::Tensor gradient = at::randn({1000});
  bound.tensors[0].gradient.copy_(gradient);
  bound.pull_back();
  EXPECT_TRUE(bound.tensors[0].gradient.equal(gradient));
}

/// w̃ = restore(u + (round(u) - u)) with the bracket constant is the identity in w, whatever the range does.
TEST(Qat, GradientIsThatOfTheSurrogate) {
  const at::Tensor weights = random_weights(50).to(at::kDouble), gradient = at::randn({50}, at::kDouble);
  Bound<Uniform> bound = make_uniform(spec(Method::qat, 3), {weights.to(at::kFloat)});
  bound.quantizer->materialize({});
  bound.tensors[0].gradient.copy_(gradient);
  bound.pull_back();
  const auto levels_of = [](const at::Tensor& w) { return (w - w.min()) / (w.max() - w.min()) * 7; };
  const at::Tensor held = levels_of(weights).round() - levels_of(weights);
  const double low = weights.min().item<double>(), range = weights.max().item<double>() - low;
  const auto loss = [&](const at::Tensor& w) {
    const at::Tensor u =
        (w - low) / range * 7;  // min and max are not followed: STE passes the gradient alone
    return ((u + held) / 7 * range + low).mul(gradient).sum().item<double>();
  };
  for (int64_t i = 0; i < 50; ++i) {
    at::Tensor up = weights.clone(), down = weights.clone();
    up[i] += 1e-6;
    down[i] -= 1e-6;
    EXPECT_NEAR(bound.tensors[0].gradient[i].item<double>(), (loss(up) - loss(down)) / 2e-6, 1e-5);
  }
}

TEST(Qat, ConstantAndSingleEntries) {
  for (const Method method : {Method::qat, Method::ptq}) {
    for (const Clip clip : {Clip::minmax, Clip::mse}) {
      Bound<Uniform> bound =
          make_uniform(spec(method, 4, clip), {at::full({100}, 0.3), at::full({1}, -2.0), at::zeros({9})});
      bound.quantizer->materialize({});
      for (size_t t = 0; t < 3; ++t) EXPECT_TRUE(bound.tensors[t].compute.equal(bound.tensors[t].master));
      bound.quantizer->materialize_rounded();
      for (size_t t = 0; t < 3; ++t) {
        EXPECT_TRUE(bound.tensors[t].compute.equal(bound.tensors[t].master));
        EXPECT_TRUE(at::all(bound.quantizer->levels(t) == 0).item<bool>());
      }
    }
  }
}

TEST(Qat, WeightsThatAreNotNumbersAreSeen) {
  at::Tensor weights = random_weights(100);
  weights[3] = std::nanf("");
  Bound<Uniform> bound = make_uniform(spec(Method::qat, 4), {weights});
  bound.quantizer->materialize({});
  EXPECT_TRUE(at::isnan(bound.tensors[0].compute[3]).item<bool>());
  EXPECT_EQ(bound.quantizer->levels(0)[3].item<int>(), 0);
}

TEST(Ptq, TrainsAsFp32AndEvaluatesAsQat) {
  Bound<Uniform> ptq = make_uniform(spec(Method::ptq, 4), {random_weights(40000)});
  Bound<Uniform> qat = make_uniform(spec(Method::qat, 4), {random_weights(40000)});
  ptq.quantizer->materialize({});
  qat.quantizer->materialize({});
  EXPECT_TRUE(ptq.tensors[0].compute.equal(ptq.tensors[0].master));
  ptq.quantizer->materialize_rounded();
  EXPECT_TRUE(ptq.tensors[0].compute.equal(qat.tensors[0].compute));
}

/// Weights with one far outlier: two bits over the whole range lose all the others.
TEST(Ptq, LeastSquaresClipBeatsTheExtremes) {
  for (const int bits : {2, 3, 4, 8}) {
    at::Tensor weights = random_weights(5000);
    weights[17] = 9;
    Bound<Uniform> plain = make_uniform(spec(Method::ptq, bits), {weights});
    Bound<Uniform> clipped = make_uniform(spec(Method::ptq, bits, Clip::mse), {weights});
    const auto error = [](Bound<Uniform>& bound) {
      bound.quantizer->materialize_rounded();
      return (bound.tensors[0].compute - bound.tensors[0].master).square().sum().item<double>();
    };
    const double of_plain = error(plain), of_clipped = error(clipped);
    if (bits == 8) {
      EXPECT_LE(of_clipped, of_plain);
    } else {
      EXPECT_LT(of_clipped, 0.9 * of_plain) << bits;
    }
    const at::Tensor levels = clipped.quantizer->levels(0);
    EXPECT_GE(levels.min().item<int>(), 0);
    EXPECT_LE(levels.max().item<int>(), (1 << bits) - 1);
    EXPECT_EQ(levels[17].item<int>(), (1 << bits) - 1);
  }
}

TEST(Lsq, ScaleStartsFromTheMeanSize) {
  const at::Tensor weights = random_weights(40000);
  Bound<Lsq> bound = make_lsq(4, {weights, at::zeros({50})});
  EXPECT_NEAR(bound.tensors[0].own.item<double>(),
              2 * weights.abs().to(at::kDouble).mean().item<double>() / std::sqrt(8.0), 1e-7);
  EXPECT_FLOAT_EQ(bound.tensors[1].own.item<float>(), 1e-8f);
}

TEST(Lsq, RoundsOntoItsLevels) {
  Bound<Lsq> bound = make_lsq(3, {at::tensor({-9.0f, -2.0f, -0.25f, 0.25f, 0.75f, 1.0f, 1.6f, 9.0f})});
  bound.tensors[0].own.fill_(0.5f);
  bound.quantizer->materialize({});
  // Levels -4 … 3 of 0.5; u = ±0.5 goes to 0, u = 1.5 to 2.
  EXPECT_TRUE(bound.tensors[0].compute.equal(at::tensor({-2.0f, -2.0f, 0.0f, 0.0f, 1.0f, 1.0f, 1.5f, 1.5f})));
  EXPECT_TRUE(bound.quantizer->levels(0).equal(at::tensor({-4, -4, 0, 0, 2, 2, 3, 3}, at::kInt)));
  EXPECT_DOUBLE_EQ(bound.quantizer->size_mb(), (3 * 8.0 + 32) / 8 / 1048576);
}

/// Away from the clip's edges and the rounding's, in double: Σ g·s·(clamp(u) + held), s's slope times
/// 1/sqrt(n·top).
TEST(Lsq, GradientsAreThoseOfTheSurrogate) {
  constexpr int64_t n = 500;
  Bound<Lsq> bound = make_lsq(3, {random_weights(n)});
  QuantizedTensor& tensor = bound.tensors[0];
  tensor.own.fill_(0.11f);
  const at::Tensor gradient = at::randn({n}, at::kDouble), weights = tensor.master.to(at::kDouble);
  const double scale = tensor.own.item<double>();
  const at::Tensor held = (weights / scale).clamp(-4, 3).round() - (weights / scale).clamp(-4, 3);
  const auto loss = [&](const at::Tensor& w, double s) {
    return (((w / s).clamp(-4, 3) + held) * s).mul(gradient).sum().item<double>();
  };
  ASSERT_GT((weights / scale).abs().sub(4).abs().min().item<double>(), 1e-4);
  ASSERT_GT((weights / scale).sub(3).abs().min().item<double>(), 1e-4);
  bound.quantizer->materialize({});
  tensor.gradient.copy_(gradient);
  bound.pull_back();
  const double by_scale = (loss(weights, scale + 1e-7) - loss(weights, scale - 1e-7)) / 2e-7;
  EXPECT_NEAR(tensor.own_gradient.item<double>(), by_scale / std::sqrt(n * 3.0), 1e-5 * std::abs(by_scale));
  int64_t clipped = 0;
  for (int64_t i = 0; i < n; ++i) {
    at::Tensor up = weights.clone(), down = weights.clone();
    up[i] += 1e-7;
    down[i] -= 1e-7;
    const double expected = (loss(up, scale) - loss(down, scale)) / 2e-7;
    EXPECT_NEAR(tensor.gradient[i].item<double>(), expected, 1e-5);
    clipped += expected == 0;
  }
  EXPECT_GT(clipped, 10);
  EXPECT_LT(clipped, n - 10);
}

TEST(Lsq, ScalesStayPositive) {
  Bound<Lsq> bound = make_lsq(4, {random_weights(10), random_weights(10), random_weights(10)});
  bound.tensors[0].own.fill_(-0.5f);
  bound.tensors[1].own.fill_(0.0f);
  bound.tensors[2].own.fill_(0.5f);
  bound.quantizer->constrain_own();
  EXPECT_EQ(bound.tensors[0].own.item<float>(), 1e-8f);
  EXPECT_EQ(bound.tensors[1].own.item<float>(), 1e-8f);
  EXPECT_EQ(bound.tensors[2].own.item<float>(), 0.5f);
  bound.quantizer->materialize({});
  for (const QuantizedTensor& tensor : bound.tensors)
    EXPECT_TRUE(at::isfinite(tensor.compute).all().item<bool>());
}

TEST(Lsq, SameBitsForAnyNumberOfThreads) {
  const int before = at::get_num_threads();
  std::vector<at::Tensor> scales, gradients;
  for (const int threads : {1, 2, 5}) {
    at::set_num_threads(threads);
    Bound<Lsq> bound = make_lsq(4, {random_weights(100003)});
    scales.push_back(bound.tensors[0].own.clone());
    bound.quantizer->materialize({});
    bound.tensors[0].gradient.copy_(random_weights(100003, 5));
    bound.pull_back();
    gradients.push_back(bound.tensors[0].own_gradient);
  }
  at::set_num_threads(before);
  for (size_t k = 1; k < 3; ++k) {
    EXPECT_TRUE(scales[k].equal(scales[0]));
    EXPECT_TRUE(gradients[k].equal(gradients[0]));
  }
}

TEST(FixedBits, ImpossibleBitsAreRefused) {
  for (const int bits : {0, 16, -1})
    EXPECT_THROW(Uniform(spec(Method::qat, bits), {}), std::invalid_argument);
  for (const int bits : {1, 16}) EXPECT_THROW(Lsq(spec(Method::lsq, bits), {}), std::invalid_argument);
}

}  // namespace
}  // namespace diffq
