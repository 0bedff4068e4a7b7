#include "trainer/parameter_store.h"

#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "tests/support/fake_quantizer.h"

namespace diffq {
namespace {

using torch::nn::Linear;

bool is_inside(const at::Tensor& part, const at::Tensor& whole) {
  const auto* begin = static_cast<const char*>(whole.const_data_ptr());
  const auto* at = static_cast<const char*>(part.const_data_ptr());
  return at >= begin && at + part.nbytes() <= begin + whole.nbytes();
}

const ParameterEntry& entry_named(const ParameterStore& store, const std::string& name) {
  for (const auto& entry : store.entries()) {
    if (entry.name == name) return entry;
  }
  throw std::runtime_error("no entry " + name);
}

torch::nn::Sequential layers(std::vector<int64_t> widths) {
  torch::nn::Sequential model;
  for (size_t i = 0; i + 1 < widths.size(); ++i) model->push_back(Linear(widths[i], widths[i + 1]));
  return model;
}

TEST(ParameterStore, ModelSeesWhatTheQuantizerWrote) {
  Linear model(3, 4);
  const at::Tensor weight = model->weight.detach().clone(), bias = model->bias.detach().clone();
  FakeQuantizer quantizer(/*threshold=*/5);
  ParameterStore store(*model, quantizer);
  const at::Tensor x = at::arange(6, at::kFloat).view({2, 3});

  EXPECT_TRUE(at::equal(model->weight, weight)) << "the values move into the store";
  quantizer.materialize({});
  EXPECT_TRUE(at::allclose(model->forward(x), at::addmm(bias, x, (weight * 2).t())));

  store.master().fill_(0.5);
  quantizer.materialize({});
  EXPECT_TRUE(at::allclose(model->forward(x), x.sum(1, true).expand({2, 4}) + 0.5))
      << "weight 1 everywhere (doubled), bias 0.5 (kept)";
}

// Autocast caches the bf16 copy of a weight: a quantizer that writes weights must make it forget them.
TEST(ParameterStore, RewrittenWeightsCountUnderAutocast) {
  for (const bool rounded : {false, true}) {
    Linear model(8, 8);
    MethodSpec method;
    method.method = Method::qat;
    method.bits = 8;
    QuantSpec quant;
    quant.min_size_mb = 0;
    const auto quantizer = make_quantizer(method, quant);
    ParameterStore store(*model, *quantizer);
    at::autocast::set_autocast_enabled(at::kCPU, true);
    at::autocast::set_autocast_cache_enabled(true);
    quantizer->materialize({});
    const at::Tensor x = at::ones({1, 8}), before = model->forward(x).detach().clone();
    store.master().mul_(3);
    rounded ? quantizer->materialize_rounded() : quantizer->materialize({});
    const at::Tensor after = model->forward(x).detach();
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(at::kCPU, false);
    EXPECT_EQ(after.scalar_type(), at::kBFloat16);
    EXPECT_TRUE(at::allclose(after.to(at::kFloat), before.to(at::kFloat) * 3, 0.05, 0.05)) << rounded;
  }
}

TEST(ParameterStore, BackwardFillsTheGradientBuffer) {
  Linear model(3, 4);
  FakeQuantizer quantizer;
  ParameterStore store(*model, quantizer);
  quantizer.materialize({});
  const at::Tensor x = at::arange(6, at::kFloat).view({2, 3}), y = at::arange(8, at::kFloat).view({2, 4});
  (model->forward(x) * y).sum().backward();
  EXPECT_TRUE(at::equal(store.gradient_of(entry_named(store, "weight")).view({4, 3}), y.t().mm(x)));
  EXPECT_TRUE(at::equal(store.gradient_of(entry_named(store, "bias")), y.sum(0)));
  (model->forward(x) * y).sum().backward();
  EXPECT_TRUE(at::equal(store.gradient_of(entry_named(store, "weight")).view({4, 3}), y.t().mm(x) * 2))
      << "a second backward adds in place";
}

TEST(ParameterStore, EntriesComeInReverseAndTileTheBuckets) {
  auto model = layers({20, 30, 5, 40, 40, 3});
  FakeQuantizer quantizer(/*threshold=*/100);
  const BucketLimits limits{400, 4000};
  const ParameterStore store(*model, quantizer, limits);

  std::vector<std::string> names;
  for (const auto& item : model->named_parameters()) names.insert(names.begin(), item.key());
  ASSERT_EQ(store.entries().size(), names.size());
  for (size_t i = 0; i < names.size(); ++i) EXPECT_EQ(store.entries()[i].name, names[i]);

  ASSERT_GE(store.buckets().size(), 3u);
  int64_t end = 0;
  size_t next_entry = 0;
  for (size_t b = 0; b < store.buckets().size(); ++b) {
    const Bucket& bucket = store.buckets()[b];
    const bool last = b + 1 == store.buckets().size();
    EXPECT_EQ(bucket.begin, end);
    int64_t inside = bucket.begin;
    for (const size_t index : bucket.entries) {
      const auto& entry = store.entries()[index];
      EXPECT_EQ(index, next_entry++);
      EXPECT_LT((inside - bucket.begin) * 4, b == 0 ? limits.first_bytes : limits.bytes)
          << "a bucket that has reached its limit takes no further entry";
      EXPECT_GE(entry.gradient_offset, inside);
      EXPECT_EQ(entry.own_count, entry.quantized ? 1 : 0);
      EXPECT_GE(entry.own_gradient_offset, entry.gradient_offset + entry.numel);
      inside = entry.own_gradient_offset + entry.own_count;
      EXPECT_LE(inside, bucket.end) << "own gradients lie in the bucket of their tensor";
    }
    if (!last) {
      EXPECT_GE((bucket.end - bucket.begin) * 4, b == 0 ? limits.first_bytes : limits.bytes);
    }
    end = bucket.end;
  }
  EXPECT_EQ(next_entry, store.entries().size());
  EXPECT_EQ(end, store.gradient().numel());
  EXPECT_TRUE(is_inside(store.failed_tail(), store.gradient().slice(0, store.buckets().back().begin, end)));
}

TEST(ParameterStore, NothingOverlaps) {
  auto model = layers({7, 9, 11, 3});
  FakeQuantizer quantizer(/*threshold=*/10);
  const ParameterStore store(*model, quantizer, {16, 64});
  // Each range gets a number of its own; all must still be there when all are written.
  float number = 0;
  for (const auto& entry : store.entries()) {
    for (const at::Tensor& range : {store.gradient_of(entry), store.own_gradient_of(entry),
                                    store.master_of(entry), store.own_of(entry)})
      range.fill_(++number);
  }
  store.buffer_tail().fill_(++number);
  store.loss_tail().fill_(++number);
  store.nonfinite_tail().fill_(++number);
  store.failed_tail().fill_(++number);
  number = 0;
  for (const auto& entry : store.entries()) {
    for (const at::Tensor& range : {store.gradient_of(entry), store.own_gradient_of(entry),
                                    store.master_of(entry), store.own_of(entry)}) {
      ++number;
      EXPECT_TRUE(range.eq(number).all().item<bool>()) << entry.name;
    }
  }
}

struct Tied : torch::nn::Module {
  Tied() {
    in = register_module("in", Linear(4, 4));
    out_weight = register_parameter("out_weight", in->weight);
  }
  at::Tensor forward(const at::Tensor& x) { return at::linear(at::tanh(in(x)), out_weight); }
  Linear in{nullptr};
  at::Tensor out_weight;
};

TEST(ParameterStore, TiedWeightsAreOneEntryWithAliases) {
  Tied model;
  FakeQuantizer quantizer(/*threshold=*/5);
  ParameterStore store(model, quantizer);
  ASSERT_EQ(store.entries().size(), 2u);
  const auto& entry = entry_named(store, "out_weight");  // a module's own parameters are listed first
  EXPECT_EQ(entry.aliases, std::vector<std::string>{"in.weight"});
  EXPECT_EQ(quantizer.quantized().size(), 1u);

  store.master().fill_(0.25);
  quantizer.materialize({});
  EXPECT_TRUE(model.in->weight.eq(0.5).all().item<bool>());
  EXPECT_TRUE(model.out_weight.eq(0.5).all().item<bool>());

  // Against a copy whose two weights are told apart: the tied gradient is the sum of both.
  const at::Tensor x = at::arange(8, at::kFloat).view({2, 4}) / 10;
  model.forward(x).sum().backward();
  at::Tensor first = at::full({4, 4}, 0.5f).requires_grad_(),
             second = at::full({4, 4}, 0.5f).requires_grad_();
  at::linear(at::tanh(at::linear(x, first, at::full({4}, 0.25f))), second).sum().backward();
  EXPECT_TRUE(at::allclose(store.gradient_of(entry).view({4, 4}), first.grad() + second.grad()));
}

TEST(ParameterStore, KeptTensorsAreMasterItselfUnlessTheyNeedCopies) {
  for (const bool copies : {false, true}) {
    Linear model(3, 4);
    FakeQuantizer quantizer(/*threshold=*/5, copies);
    const ParameterStore store(*model, quantizer);
    EXPECT_FALSE(is_inside(model->weight, store.master())) << "quantised";
    EXPECT_EQ(is_inside(model->bias, store.master()), !copies);
    ASSERT_EQ(quantizer.kept().size(), 1u);
    EXPECT_EQ(quantizer.kept()[0].compute.const_data_ptr(), model->bias.const_data_ptr());
    EXPECT_TRUE(is_inside(quantizer.kept()[0].master, store.master()));
    EXPECT_TRUE(at::equal(quantizer.kept()[0].compute, quantizer.kept()[0].master));
  }
}

TEST(ParameterStore, LstmWorksOnViews) {
  using torch::nn::LSTMOptions;
  torch::manual_seed(1);
  torch::nn::LSTM model(LSTMOptions(5, 6).num_layers(2).bidirectional(true));
  torch::manual_seed(1);
  torch::nn::LSTM plain(LSTMOptions(5, 6).num_layers(2).bidirectional(true));
  FakeQuantizer quantizer;
  ParameterStore store(*model, quantizer);
  const at::Tensor x = at::linspace(-1, 1, 7 * 2 * 5, at::kFloat).view({7, 2, 5});
  EXPECT_TRUE(at::allclose(std::get<0>(model->forward(x)), std::get<0>(plain->forward(x))));

  quantizer.materialize({});
  {
    torch::NoGradGuard no_grad;
    for (auto& parameter : plain->parameters()) parameter.mul_(2);
  }
  const at::Tensor seen = std::get<0>(model->forward(x)), expected = std::get<0>(plain->forward(x));
  EXPECT_TRUE(at::allclose(seen, expected));
  seen.square().sum().backward();
  expected.square().sum().backward();
  ASSERT_EQ(store.entries().size(), 16u);
  for (const auto& item : plain->named_parameters()) {
    const at::Tensor gradient = store.gradient_of(entry_named(store, item.key())).view(item.value().sizes());
    EXPECT_GT(gradient.abs().max().item<float>(), 0) << item.key();
    EXPECT_TRUE(at::allclose(gradient, item.value().grad(), 1e-4, 1e-5)) << item.key();
  }
}

TEST(ParameterStore, ListsFloatingBuffersOnly) {
  torch::nn::Sequential model(Linear(3, 4), torch::nn::BatchNorm1d(4));
  FakeQuantizer quantizer;
  const ParameterStore store(*model, quantizer);
  ASSERT_EQ(store.buffers().size(), 2u);
  EXPECT_EQ(store.buffers()[0].name, "1.running_mean");
  EXPECT_EQ(store.buffers()[1].name, "1.running_var");
  EXPECT_EQ(store.buffer_tail().numel(), 8);
  model->forward(at::randn({5, 3}));
  EXPECT_TRUE(at::equal(store.buffers()[0].tensor, model->named_buffers()["1.running_mean"]))
      << "the module's own memory";
}

TEST(ParameterStore, CountsBatchesInPlaceOfTheLayers) {
  const torch::nn::BatchNorm1d twice(4);
  torch::nn::Sequential model(Linear(3, 4), twice, Linear(4, 4), twice);
  model->register_buffer("places", at::arange(3));
  FakeQuantizer quantizer;
  ParameterStore store(*model, quantizer);
  for (int batch = 0; batch < 3; ++batch) {
    model->forward(at::randn({5, 3}));
    if (batch > 0) store.count_batch();
  }
  const auto buffers = model->named_buffers();
  EXPECT_EQ(buffers["1.num_batches_tracked"].item<int64_t>(), 2) << "what a model's file has";
  EXPECT_TRUE(buffers["places"].equal(at::arange(3))) << "is no count";
  torch::nn::Sequential all_batches(
      torch::nn::BatchNorm1d(torch::nn::BatchNormOptions(4).momentum(std::nullopt)));
  EXPECT_THROW(ParameterStore(*all_batches, quantizer), c10::Error);
}

TEST(ParameterStore, OtherTypesAreRefused) {
  Linear model(3, 4);
  model->to(at::kDouble);
  FakeQuantizer quantizer;
  EXPECT_THROW(ParameterStore(*model, quantizer), c10::Error);
  Linear frozen(3, 4);
  frozen->bias.set_requires_grad(false);
  EXPECT_THROW(ParameterStore(*frozen, quantizer), c10::Error);
}

}  // namespace
}  // namespace diffq
