// What all quantizers share: which tensors they take, kept tensors, and the factory.

#include "quant/quantizer.h"

#include <gtest/gtest.h>

#include "tests/quant/bound.h"

namespace diffq {
namespace {

MethodSpec spec(Method method) {
  MethodSpec made;
  made.method = method;
  made.bits = 4;
  return made;
}

constexpr Method kQuantising[] = {Method::ptq, Method::qat, Method::lsq, Method::diffq};

TEST(Quantizer, SmallTensorsAreKept) {
  QuantSpec quant;
  quant.min_size_mb = 0.01;  // floor(0.01 * 2^20 / 4) = 2621 entries
  for (const Method method : kQuantising) {
    const auto quantizer = make_quantizer(spec(method), quant);
    EXPECT_FALSE(quantizer->selects("conv.weight", 2621));
    EXPECT_TRUE(quantizer->selects("conv.weight", 2622));
  }
  quant.min_size_mb = 0;
  EXPECT_TRUE(make_quantizer(spec(Method::diffq), quant)->selects("a", 1));
  EXPECT_FALSE(make_quantizer(spec(Method::diffq), quant)->selects("a", 0));
}

TEST(Quantizer, GlobsExcludeByFullOrLastName) {
  const auto selected = [](std::vector<std::string> globs, const std::string& name) {
    QuantSpec quant;
    quant.min_size_mb = 0;
    quant.exclude = std::move(globs);
    return make_quantizer(spec(Method::diffq), quant)->selects(name, 1000);
  };
  EXPECT_TRUE(selected({}, "layer1.0.conv1.weight"));
  EXPECT_FALSE(selected({"weight"}, "layer1.0.conv1.weight"));
  EXPECT_FALSE(selected({"bias", "w?ight"}, "layer1.0.conv1.weight"));
  EXPECT_FALSE(selected({"layer1.*"}, "layer1.0.conv1.weight"));
  EXPECT_FALSE(selected({"*.conv[12].*"}, "layer1.0.conv1.weight"));
  EXPECT_TRUE(selected({"*.conv[23].*"}, "layer1.0.conv1.weight"));
  EXPECT_FALSE(selected({"*.conv[!23].*"}, "layer1.0.conv1.weight"));
  EXPECT_TRUE(selected({"conv1"}, "layer1.0.conv1.weight"));
  EXPECT_TRUE(selected({"layer1"}, "layer1.0.conv1.weight"));
  EXPECT_TRUE(selected({"Weight"}, "layer1.0.conv1.weight"));
  EXPECT_FALSE(selected({"token"}, "token"));
}

TEST(Quantizer, Fp32QuantisesNothing) {
  QuantSpec quant;
  quant.float16 = true;
  const auto quantizer = make_quantizer(spec(Method::fp32), quant);
  EXPECT_FALSE(quantizer->selects("conv.weight", 1 << 20));
  EXPECT_FALSE(quantizer->copies_kept());
  const at::Tensor weights = at::ones({1000});
  quantizer->bind({}, {{"conv.weight", weights, weights}});
  quantizer->initialize_own();
  quantizer->materialize({});
  quantizer->pull_back({});
  quantizer->materialize_rounded();
  quantizer->add_size_gradient(5);
  quantizer->constrain_own();
  EXPECT_DOUBLE_EQ(quantizer->size_mb(), 32 * 1000.0 / 8 / 1048576);
  EXPECT_DOUBLE_EQ(quantizer->expected_size_mb(), quantizer->size_mb());
  EXPECT_TRUE(quantizer->bits().empty());
}

TEST(Quantizer, KeptTensorsAloneWork) {
  for (const Method method : kQuantising) {
    Bound<Quantizer> bound(make_quantizer(spec(method), {}), {}, {at::ones({10})});
    bound.quantizer->materialize({1, 1});
    bound.pull_back();
    bound.quantizer->add_size_gradient(1);
    bound.quantizer->constrain_own();
    bound.quantizer->materialize_rounded();
    EXPECT_DOUBLE_EQ(bound.quantizer->size_mb(), 40.0 / 1048576);
    EXPECT_DOUBLE_EQ(bound.quantizer->expected_size_mb(), 40.0 / 1048576);
    EXPECT_TRUE(bound.quantizer->bits().empty());
  }
}

/// float16: kept tensors train in float32 and are evaluated, stored and counted as float16.
TEST(Quantizer, Float16OfKeptTensors) {
  QuantSpec quant;
  quant.float16 = true;
  for (const Method method : kQuantising) {
    Bound<Quantizer> bound(make_quantizer(spec(method), quant), {}, {at::tensor({1.0f, 1.0f / 3, 2049.0f})});
    ASSERT_TRUE(bound.quantizer->copies_kept());
    bound.quantizer->materialize({1, 1});
    EXPECT_TRUE(bound.kept[0].compute.equal(bound.kept[0].master));
    bound.quantizer->materialize_rounded();
    EXPECT_TRUE(bound.kept[0].compute.equal(at::tensor({1.0f, 0.333251953125f, 2048.0f})));
    EXPECT_FLOAT_EQ(bound.kept[0].master[1].item<float>(), 1.0f / 3);
    EXPECT_DOUBLE_EQ(bound.quantizer->size_mb(), 6.0 / 1048576);
  }
}

TEST(Quantizer, WrongMemoryIsRefused) {
  const auto quantizer = make_quantizer(spec(Method::diffq), {});
  const QuantizedTensor good = make_quantized(*quantizer, "w", at::randn({100}));
  QuantizedTensor bad = good;
  bad.compute = bad.master;
  EXPECT_THROW(quantizer->bind({bad}, {}), std::invalid_argument);
  bad = good;
  bad.own = at::zeros({12});  // 13 groups of 8
  EXPECT_THROW(quantizer->bind({bad}, {}), std::invalid_argument);
  bad = good;
  bad.gradient = at::zeros({99});
  EXPECT_THROW(quantizer->bind({bad}, {}), std::invalid_argument);
  bad = good;
  bad.compute = at::zeros({100}, at::kDouble);
  EXPECT_THROW(quantizer->bind({bad}, {}), std::invalid_argument);
  EXPECT_NO_THROW(quantizer->bind({good}, {}));
}

}  // namespace
}  // namespace diffq
