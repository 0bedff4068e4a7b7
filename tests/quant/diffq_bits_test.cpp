// DiffQ's bits: where they start, what they cost, what they round to, and the tensors that are special.

#include <gtest/gtest.h>

#include "tests/quant/diffq_support.h"

namespace diffq {
namespace {

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
class Rounding : public testing::TestWithParam<int64_t> {};
INSTANTIATE_TEST_SUITE_P(DiffQ, Rounding, testing::Values(0, 1, 7, 8, 128, 5000, 16385, 1 << 20));

TEST_P(Rounding, RoundedWeightsAreTheLevelsRestored) {
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

/// ResNet-18 for CIFAR, groups of 16: under a penalty that dominates, Adam moves every logit down by its
/// rate, 1e-3, a step. The published package was logged by others at these sizes after 313, 626 and 939
/// steps.
TEST(DiffQ, SizesOfResnet18InFreeFall) {
  std::vector<at::Tensor> weights{at::zeros({5120})};
  int64_t kept = 1728 + 10 + 2 * 64 * 5;
  for (int k = 0; k < 4; ++k) weights.push_back(at::zeros({64 * 64 * 9}));
  for (const int64_t width : {128, 256, 512}) {
    weights.push_back(at::zeros({width * width / 2 * 9}));
    weights.push_back(at::zeros({width * width / 2}));
    for (int k = 0; k < 3; ++k) weights.push_back(at::zeros({width * width * 9}));
    kept += 2 * width * 5;
  }
  Bound<DiffQ> bound = make(diffq_method(16), weights, best_code_path(), {at::zeros({kept})});
  for (const double logged : {9.608, 8.278, 6.882}) {
    for (QuantizedTensor& tensor : bound.tensors) tensor.own.sub_(0.313);
    EXPECT_NEAR(bound.quantizer->size_mb(), logged, 0.003 * logged);
  }
  EXPECT_NEAR(bound.quantizer->size_mb(), 6.8632, 1e-4);
}

}  // namespace
}  // namespace diffq
