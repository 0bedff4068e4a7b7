// DiffQ's two maps: gradients against finite differences of a second statement in double, every way a group
// can take, the same bits from every path and number of threads, and the expectation over noise.

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "tests/quant/diffq_support.h"

namespace diffq {
namespace {

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

}  // namespace
}  // namespace diffq
