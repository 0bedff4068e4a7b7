// DiffQ: gradients against finite differences of a second statement in double, odd groups and tensors, sizes,
// threads.

#include "quant/diffq.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/quant/bound.h"

namespace diffq {
namespace {

MethodSpec diffq_method(int64_t group_size, NoiseKind noise = NoiseKind::gaussian,
                        Parametrisation parametrisation = Parametrisation::bits) {
  MethodSpec method;
  method.method = Method::diffq;
  method.group_size = group_size;
  method.noise = noise;
  method.parametrisation = parametrisation;
  return method;
}

Bound<DiffQ> make(const MethodSpec& method, const std::vector<at::Tensor>& weights,
                  CodePath path = best_code_path(), const std::vector<at::Tensor>& kept = {},
                  const QuantSpec& quant = {}) {
  return {std::make_unique<DiffQ>(method, quant, path), weights, kept};
}

at::Tensor random_weights(int64_t n, uint64_t seed = 1) {
  at::manual_seed(seed);
  return at::randn({n}) * 0.3;
}

double bits_of_logit(const MethodSpec& method, double logit) {
  const double part = 1 / (1 + std::exp(-logit));
  if (method.parametrisation == Parametrisation::bits)
    return method.max_bits * part + method.min_bits * (1 - part);
  const double low = -std::log(std::exp2(method.min_bits) - 1),
               high = -std::log(std::exp2(method.max_bits) - 1);
  return std::log2(1 + std::exp(-(high * part + low * (1 - part))));
}

/// Σ gradient * w̃: the loss whose derivatives pull_back must give, restated in double.
double loss(const MethodSpec& method, const std::vector<double>& weights, const std::vector<double>& logits,
            const std::vector<double>& noise, const std::vector<double>& gradient) {
  const auto [low, high] = std::minmax_element(weights.begin(), weights.end());
  const size_t group = method.group_size == 0 ? weights.size() : static_cast<size_t>(method.group_size);
  double sum = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const double step = (*high - *low) / (std::exp2(bits_of_logit(method, logits[i / group])) - 1);
    sum += gradient[i] * (weights[i] + step * noise[i]);
  }
  return sum;
}

std::vector<double> doubles(const at::Tensor& values) {
  const at::Tensor wide = values.to(at::kDouble).contiguous();
  return {wide.const_data_ptr<double>(), wide.const_data_ptr<double>() + wide.numel()};
}

/// Central differences of a function of one number.
template <class Function>
double slope(const Function& f, double h) {
  return (f(h) - f(-h)) / (2 * h);
}

class AnyGroup : public testing::TestWithParam<std::tuple<int64_t, NoiseKind, Parametrisation>> {};
INSTANTIATE_TEST_SUITE_P(DiffQ, AnyGroup,
                         testing::Combine(testing::Values(0, 1, 3, 8, 100, 1000),
                                          testing::Values(NoiseKind::gaussian, NoiseKind::uniform),
                                          testing::Values(Parametrisation::bits, Parametrisation::noise)));

TEST_P(AnyGroup, GradientsAreThoseOfMaterialize) {
  const auto& [group_size, noise_kind, parametrisation] = GetParam();
  const MethodSpec method = diffq_method(group_size, noise_kind, parametrisation);
  constexpr int64_t n = 203;
  Bound<DiffQ> bound = make(method, {random_weights(n)});
  QuantizedTensor& tensor = bound.tensors[0];
  tensor.own.copy_(at::randn_like(tensor.own));
  bound.quantizer->materialize({3, 4});
  const at::Tensor loss_gradient = at::randn({n});
  tensor.gradient.copy_(loss_gradient);
  bound.pull_back();

  std::vector<double> weights = doubles(tensor.master), logits = doubles(tensor.own), noise,
                      gradient = doubles(loss_gradient);
  for (int64_t i = 0; i < n; ++i) noise.push_back(double{noise_at({noise_kind, 3, 4, 0, nullptr}, i)});
  double value = 0;
  const std::vector<double> noisy = doubles(tensor.compute);
  for (size_t i = 0; i < noisy.size(); ++i) value += gradient[i] * noisy[i];
  EXPECT_NEAR(loss(method, weights, logits, noise, gradient), value, 1e-4);

  const auto differences = [&](std::vector<double>& variables, double h) {
    std::vector<float> slopes;
    for (double& x : variables) {
      const double middle = x;
      slopes.push_back(static_cast<float>(slope(
          [&](double step) {
            x = middle + step;
            const double moved = loss(method, weights, logits, noise, gradient);
            x = middle;
            return moved;
          },
          h)));
    }
    return tensor_of(slopes);
  };
  // The extremes are entries like all others here: their moves change the range.
  EXPECT_LT(relative_difference(tensor.gradient, differences(weights, 1e-7)), 1e-5);
  EXPECT_LT(relative_difference(tensor.own_gradient, differences(logits, 1e-4)), 1e-5);
}

/// Entries that share an extreme move it only together: the sum of their gradients is the derivative, in
/// equal parts.
TEST(DiffQ, TiesAtTheExtremesShareTheRangesGradient) {
  const MethodSpec method = diffq_method(8);
  at::Tensor weights = random_weights(40000);
  const std::vector<int64_t> largest{3, 200, 20000, 39999}, smallest{0, 17000, 17001};
  for (const int64_t i : largest) weights[i] = 4;
  for (const int64_t i : smallest) weights[i] = -3;
  Bound<DiffQ> bound = make(method, {weights});
  bound.quantizer->materialize({3, 4});
  const at::Tensor loss_gradient = at::randn({40000});
  bound.tensors[0].gradient.copy_(loss_gradient);
  bound.pull_back();

  std::vector<double> w = doubles(weights), noise, gradient = doubles(loss_gradient);
  const std::vector<double> logits = doubles(bound.tensors[0].own);
  for (int64_t i = 0; i < 40000; ++i)
    noise.push_back(double{noise_at({NoiseKind::gaussian, 3, 4, 0, nullptr}, i)});
  const auto moved_together = [&](const std::vector<int64_t>& ties) {
    return slope(
        [&](double step) {
          std::vector<double> moved = w;
          for (const int64_t i : ties) moved[static_cast<size_t>(i)] += step;
          return loss(method, moved, logits, noise, gradient);
        },
        1e-5);
  };
  const at::Tensor change = bound.tensors[0].gradient - loss_gradient;
  for (const auto& ties : {largest, smallest}) {
    double own = 0;
    for (const int64_t i : ties) own += gradient[static_cast<size_t>(i)];
    for (const int64_t i : ties) {
      EXPECT_NEAR(change[i].item<double>(), (moved_together(ties) - own) / static_cast<double>(ties.size()),
                  1e-3);
    }
  }
  EXPECT_EQ(change.count_nonzero().item<int64_t>(), 7);
}

/// Groups that take the vector kernels, the plain loops, or several pieces a group.
class LargeTensor : public testing::TestWithParam<int64_t> {};
INSTANTIATE_TEST_SUITE_P(DiffQ, LargeTensor,
                         testing::Values(0, 1, 4, 7, 8, 128, 384, 5000, 16384, 16385, 40000, 1 << 20));

struct Result {
  at::Tensor compute, gradient, own_gradient;
};

Result step_of(const MethodSpec& method, const std::vector<at::Tensor>& weights, CodePath path, int threads) {
  const int before = at::get_num_threads();
  at::set_num_threads(threads);
  Bound<DiffQ> bound = make(method, weights, path);
  at::manual_seed(9);
  std::vector<at::Tensor> compute, gradient, own_gradient;
  for (QuantizedTensor& tensor : bound.tensors) {
    tensor.own.add_(at::randn_like(tensor.own));
    tensor.gradient.copy_(at::randn_like(tensor.gradient));
  }
  bound.quantizer->materialize({11, 12});
  bound.pull_back();
  for (QuantizedTensor& tensor : bound.tensors) {
    compute.push_back(tensor.compute);
    gradient.push_back(tensor.gradient);
    own_gradient.push_back(tensor.own_gradient);
  }
  at::set_num_threads(before);
  return {at::cat(compute), at::cat(gradient), at::cat(own_gradient)};
}

TEST_P(LargeTensor, SameBitsFromEveryPathAndAnyNumberOfThreads) {
  const MethodSpec method = diffq_method(GetParam());
  const std::vector<at::Tensor> weights{random_weights(100003), random_weights(40, 2),
                                        random_weights(32768, 3)};
  const Result one = step_of(method, weights, CodePath::plain, 1);
  for (const CodePath path : {CodePath::plain, CodePath::avx2, CodePath::avx512}) {
    if (!has_code_path(path)) continue;
    for (const int threads : {1, 2, 3, 7}) {
      const Result other = step_of(method, weights, path, threads);
      EXPECT_TRUE(one.compute.equal(other.compute)) << threads;
      EXPECT_TRUE(one.gradient.equal(other.gradient)) << threads;
      EXPECT_TRUE(one.own_gradient.equal(other.own_gradient)) << threads;
    }
  }
}

/// Each entry's noise, and each group's sum in double, whatever way the group takes.
TEST_P(LargeTensor, AgreesWithTheFormulasEntryByEntry) {
  const MethodSpec method = diffq_method(GetParam());
  constexpr int64_t n = 50001;
  Bound<DiffQ> bound = make(method, {random_weights(n)});
  QuantizedTensor& tensor = bound.tensors[0];
  const int64_t group = GetParam() == 0 ? n : std::min(GetParam(), n);
  ASSERT_EQ(tensor.own.numel(), (n + group - 1) / group);
  tensor.own.copy_(at::randn_like(tensor.own));
  bound.quantizer->materialize({3, 4});
  tensor.gradient.copy_(at::randn({n}));
  const std::vector<double> gradient = doubles(tensor.gradient), weights = doubles(tensor.master),
                            logits = doubles(tensor.own);
  bound.pull_back();
  const double range =
      *std::max_element(weights.begin(), weights.end()) - *std::min_element(weights.begin(), weights.end());
  std::vector<float> noisy, slopes(logits.size());
  std::vector<double> sums(logits.size());
  for (int64_t i = 0; i < n; ++i) {
    const auto k = static_cast<size_t>(i / group);
    const double noise = double{noise_at({NoiseKind::gaussian, 3, 4, 0, nullptr}, i)};
    const double power = std::exp2(bits_of_logit(method, logits[k])), part = 1 / (1 + std::exp(-logits[k]));
    noisy.push_back(static_cast<float>(weights[static_cast<size_t>(i)] + range / (power - 1) * noise));
    sums[k] += gradient[static_cast<size_t>(i)] * noise;
    slopes[k] = static_cast<float>(-range * std::log(2.0) * power / ((power - 1) * (power - 1)) * sums[k] *
                                   13 * part * (1 - part));
  }
  EXPECT_LT(relative_difference(tensor.compute, tensor_of(noisy)), 1e-6);
  EXPECT_LT(relative_difference(tensor.own_gradient, tensor_of(slopes)), 1e-5);
}

TEST(DiffQ, PullBackOfSomeTensorsLeavesTheOthers) {
  Bound<DiffQ> bound =
      make(diffq_method(8), {random_weights(100), random_weights(200, 2), random_weights(300, 3)});
  bound.quantizer->materialize({1, 1});
  for (QuantizedTensor& tensor : bound.tensors) tensor.gradient.fill_(1);
  const std::vector<size_t> some{2, 0};
  bound.quantizer->pull_back(some);
  EXPECT_TRUE(at::all(bound.tensors[1].own_gradient == -777).item<bool>());
  EXPECT_TRUE(at::all(bound.tensors[1].gradient == 1).item<bool>());
  EXPECT_FALSE(at::any(bound.tensors[0].own_gradient == -777).item<bool>());
  EXPECT_FALSE(at::any(bound.tensors[2].own_gradient == -777).item<bool>());
}

TEST(DiffQ, NoiseFollowsTheKey) {
  Bound<DiffQ> bound = make(diffq_method(8), {random_weights(100), random_weights(100)});
  const auto noisy = [&](NoiseKey key) {
    bound.quantizer->materialize(key);
    return bound.tensors[0].compute.clone();
  };
  const at::Tensor first = noisy({1, 1});
  EXPECT_FALSE(first.equal(noisy({1, 2})));
  EXPECT_FALSE(first.equal(noisy({2, 1})));
  EXPECT_TRUE(first.equal(noisy({1, 1})));
  EXPECT_FALSE(first.equal(bound.tensors[1].compute));  // same weights, other tensor
}

/// Ranks that draw their own noise: the mean of their gradients tends to the expectation, which here is
/// known. With gradient c·(w̃ - w), S = c·step·Σ ε², whose mean is c·step·group/4 and whose relative spread is
/// sqrt(2 / draws).
TEST(DiffQ, MeanGradientOfIndependentRanksIsTheExpectation) {
  const MethodSpec method = diffq_method(0);
  constexpr int64_t n = 4096;
  Bound<DiffQ> bound = make(method, {random_weights(n)});
  QuantizedTensor& tensor = bound.tensors[0];
  const double range = (tensor.master.max() - tensor.master.min()).item<double>();
  const double scale = 1 / (std::exp2(8.0) - 1),
               slope = -std::log(2.0) * scale * (1 + scale) * 13 * (6.0 / 13) * (7.0 / 13);
  constexpr int kRanks = 64;
  double sum = 0;
  for (uint64_t rank = 0; rank < kRanks; ++rank) {
    bound.quantizer->materialize({mix_seed(5, rank), 1});
    tensor.gradient.copy_(tensor.compute - tensor.master);
    bound.pull_back();
    sum += tensor.own_gradient.item<double>();
  }
  const double expected = range * slope * range * scale * static_cast<double>(n) / 4;
  EXPECT_NEAR(sum / kRanks / expected, 1, 5 * std::sqrt(2.0 / (kRanks * static_cast<double>(n))));
}

TEST(DiffQ, StartsAtInitBits) {
  for (const Parametrisation parametrisation : {Parametrisation::bits, Parametrisation::noise}) {
    MethodSpec method = diffq_method(8, NoiseKind::gaussian, parametrisation);
    method.min_bits = 1;
    method.init_bits = 6.25;
    method.max_bits = 10;
    Bound<DiffQ> bound = make(method, {random_weights(100)});
    EXPECT_LT((bound.quantizer->real_bits(0) - 6.25).abs().max().item<double>(), 1e-5);
    EXPECT_EQ(bound.quantizer->bits()[0].bits, std::vector<int>(13, 6));
  }
}

TEST(DiffQ, SizesByHand) {
  Bound<DiffQ> bound =
      make(diffq_method(8), {random_weights(100), random_weights(16, 2)}, best_code_path(), {at::ones({10})});
  // All at 8 bits: β = ceil(log2(1 + 8 - 2)) = 3, groups 13 and 2.
  const double expected = (32 * 10 + 8 * 100 + 72 + 3 * 13 + 8 * 16 + 72 + 3 * 2) / 8.0 / 1048576;
  EXPECT_NEAR(bound.quantizer->expected_size_mb(), expected, 1e-7 * expected);
  EXPECT_DOUBLE_EQ(bound.quantizer->size_mb(), expected);
  // To the two ends: 2 bits (β = 0) and 15 bits (β = 4).
  bound.tensors[0].own.fill_(-40);
  bound.tensors[1].own.fill_(40);
  const double ends = (32 * 10 + 2 * 100 + 72 + 15 * 16 + 72 + 4 * 2) / 8.0 / 1048576;
  EXPECT_NEAR(bound.quantizer->expected_size_mb(), ends, 1e-7 * ends);
  EXPECT_DOUBLE_EQ(bound.quantizer->size_mb(), ends);
}

/// λ's gradient is that of expected_size_mb, the last, shorter group included.
TEST(DiffQ, SizeGradientIsTheSlopeOfTheExpectedSize) {
  for (const Parametrisation parametrisation : {Parametrisation::bits, Parametrisation::noise}) {
    for (const int64_t group : {0, 3, 8, 20000}) {
      const MethodSpec method = diffq_method(group, NoiseKind::gaussian, parametrisation);
      Bound<DiffQ> bound = make(method, {random_weights(50001)});
      QuantizedTensor& tensor = bound.tensors[0];
      tensor.own.copy_(at::randn_like(tensor.own));
      tensor.own_gradient.fill_(0.25);
      bound.quantizer->add_size_gradient(1000);
      const std::vector<double> logits = doubles(tensor.own);
      const int64_t entries = group == 0 ? 50001 : group;
      for (const size_t k : {size_t{0}, logits.size() / 2, logits.size() - 1}) {
        const int64_t held = std::min(entries, 50001 - static_cast<int64_t>(k) * entries);
        const double bits_slope = slope([&](double h) { return bits_of_logit(method, logits[k] + h); }, 1e-4);
        const double expected = 0.25 + 1000 * bits_slope * static_cast<double>(held) / 8 / 1048576;
        EXPECT_NEAR(tensor.own_gradient[static_cast<int64_t>(k)].item<double>(), expected, 1e-5 * expected);
      }
      tensor.own_gradient.fill_(0.25);
      bound.quantizer->add_size_gradient(0);
      EXPECT_TRUE(at::all(tensor.own_gradient == 0.25).item<bool>());
    }
  }
}

TEST(DiffQ, ConstantTensorHasNoNoiseNoLevelsNoGradient) {
  for (const int64_t group : {0, 7, 8}) {
    Bound<DiffQ> bound = make(diffq_method(group), {at::full({20000}, -0.7), at::zeros({100})});
    bound.quantizer->materialize({1, 1});
    for (QuantizedTensor& tensor : bound.tensors) tensor.gradient.fill_(2);
    bound.pull_back();
    for (size_t t = 0; t < 2; ++t) {
      QuantizedTensor& tensor = bound.tensors[t];
      EXPECT_TRUE(tensor.compute.equal(tensor.master));
      EXPECT_TRUE(at::all(tensor.gradient == 2).item<bool>());
      EXPECT_TRUE(at::all(tensor.own_gradient == 0).item<bool>());
      EXPECT_TRUE(at::all(bound.quantizer->levels(t) == 0).item<bool>());
      bound.quantizer->materialize_rounded();
      EXPECT_TRUE(tensor.compute.equal(tensor.master));
    }
  }
}

TEST(DiffQ, OneEntry) {
  for (const int64_t group : {0, 1, 8}) {
    Bound<DiffQ> bound = make(diffq_method(group), {at::full({1}, 0.3)});
    bound.quantizer->materialize({1, 1});
    bound.tensors[0].gradient.fill_(2);
    bound.pull_back();
    EXPECT_TRUE(bound.tensors[0].compute.equal(bound.tensors[0].master));
    EXPECT_EQ(bound.tensors[0].own_gradient.item<float>(), 0);
    const TensorBits bits = bound.quantizer->bits()[0];
    EXPECT_EQ(bits.bits, std::vector<int>{8});
    EXPECT_EQ(bits.group_size, 1);
  }
}

/// At 15 bits the rounding error is below half a step of range / 32767, and the extremes are kept.
TEST(DiffQ, FifteenBits) {
  Bound<DiffQ> bound = make(diffq_method(8), {random_weights(1000)});
  QuantizedTensor& tensor = bound.tensors[0];
  tensor.own.fill_(40);
  EXPECT_EQ(bound.quantizer->bits()[0].bits, std::vector<int>(125, 15));
  bound.quantizer->materialize_rounded();
  const double range = (tensor.master.max() - tensor.master.min()).item<double>();
  EXPECT_LT((tensor.compute - tensor.master).abs().max().item<double>(), range / 32767 * 0.51);
  const at::Tensor levels = bound.quantizer->levels(0);
  EXPECT_EQ(levels.min().item<int>(), 0);
  EXPECT_EQ(levels.max().item<int>(), 32767);
}

/// Evaluation is on the grid of each group's own bits: levels and ends restore the weights exactly.
TEST_P(LargeTensor, RoundedWeightsAreTheLevelsRestored) {
  constexpr int64_t n = 20011;
  Bound<DiffQ> bound = make(diffq_method(GetParam()), {random_weights(n)});
  QuantizedTensor& tensor = bound.tensors[0];
  tensor.own.copy_(at::randn_like(tensor.own) * 3);
  bound.quantizer->materialize_rounded();
  const TensorBits bits = bound.quantizer->bits()[0];
  ASSERT_EQ(static_cast<int64_t>(bits.bits.size()), (n + bits.group_size - 1) / bits.group_size);
  const at::Tensor levels = bound.quantizer->levels(0);
  const float low = tensor.master.min().item<float>(), range = tensor.master.max().item<float>() - low;
  for (int64_t i = 0; i < n; ++i) {
    const int width = bits.bits[static_cast<size_t>(i / bits.group_size)];
    const int level = levels.const_data_ptr<int32_t>()[i];
    ASSERT_TRUE(level >= 0 && level < 1 << width);
    const auto top = static_cast<float>((1 << width) - 1);
    ASSERT_EQ(tensor.compute.const_data_ptr<float>()[i], static_cast<float>(level) / top * range + low);
    ASSERT_EQ(static_cast<float>(level),
              std::nearbyint((tensor.master.const_data_ptr<float>()[i] - low) / range * top));
  }
}

TEST(DiffQ, ImpossibleSettingsAreRefused) {
  MethodSpec method = diffq_method(-1);
  EXPECT_THROW(DiffQ(method, {}), std::invalid_argument);
  method = diffq_method(8);
  method.max_bits = 16;
  EXPECT_THROW(DiffQ(method, {}), std::invalid_argument);
  method = diffq_method(8);
  method.init_bits = 2;
  EXPECT_THROW(DiffQ(method, {}), std::invalid_argument);
}

}  // namespace
}  // namespace diffq
