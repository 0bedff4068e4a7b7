#include "trainer/gradient_buckets.h"

#include <gtest/gtest.h>

#include "tests/support/fake_quantizer.h"
#include "tests/support/thread_communicator.h"
#include "tests/trainer/training_rig.h"

namespace diffq {
namespace {

using torch::nn::Linear;

// Passes all on and notes where in the gradient buffer each sum starts.
class RecordingCommunicator : public Communicator {
 public:
  explicit RecordingCommunicator(Communicator& inner) : inner_(inner) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  void start_sum(const at::Tensor& bucket) override {
    started.push_back(bucket.storage_offset());
    inner_.start_sum(bucket);
  }
  void wait() override { inner_.wait(); }
  void broadcast(const at::Tensor& tensor) override { inner_.broadcast(tensor); }
  void sum(std::span<double> values) override { inner_.sum(values); }

  std::vector<int64_t> started;

 protected:
  std::string first_failure(const std::string&) override { throw std::logic_error("not used here"); }

 private:
  Communicator& inner_;
};

// Parallel branches, called in an order of one's own; `tied` is used by two of them, `unused` by none.
struct Branches : torch::nn::Module {
  explicit Branches(int count) {
    for (int i = 0; i < count; ++i) {
      branches.push_back(register_module("branch" + std::to_string(i), Linear(3, 3)));
    }
    tied = register_parameter("tied", at::full({3}, 0.5f));
    register_parameter("tied_again", tied);
    unused = register_module("unused", Linear(2, 2));
    torch::NoGradGuard no_grad;
    for (auto& item : named_parameters()) item.value().fill_(0.1f);
  }
  at::Tensor forward(const at::Tensor& x, bool backwards) {
    at::Tensor sum = at::zeros({});
    for (size_t i = 0; i < branches.size(); ++i) {
      auto& branch = branches[backwards ? branches.size() - 1 - i : i];
      sum = sum + (branch(x) * (i < 2 ? tied : at::ones({3}))).square().sum();
    }
    return sum;
  }
  std::vector<Linear> branches;
  at::Tensor tied;
  Linear unused{nullptr};
};

struct Fixture {
  Fixture(Communicator& communicator, BucketLimits limits)
      : store(model, quantizer, limits), recorder(communicator), buckets(store, quantizer, recorder) {
    quantizer.initialize_own();
    quantizer.materialize({});
  }
  void step(const at::Tensor& x, bool backwards = false) {
    buckets.begin();
    buckets.arm();
    const at::Tensor loss = model.forward(x, backwards);
    loss.backward();
    EXPECT_EQ(buckets.finish(loss.detach(), ""), "");
  }
  const ParameterEntry& entry(const std::string& name) const {
    for (const auto& entry : store.entries()) {
      if (entry.name == name) return entry;
    }
    throw std::runtime_error(name);
  }

  Branches model{4};
  FakeQuantizer quantizer{/*threshold=*/4};
  ParameterStore store;
  RecordingCommunicator recorder;
  GradientBuckets buckets;
};

constexpr BucketLimits kOneEach{1, 1};
const at::Tensor kInput = at::arange(6, at::kFloat).view({2, 3}) / 10;

TEST(GradientBuckets, EachHookFiresOnceAStepTiedWeightsToo) {
  const auto alone = single_rank();
  Fixture fixture(*alone, {});
  for (int step = 0; step < 3; ++step) {
    fixture.step(kInput);
    for (size_t i = 0; i < fixture.store.entries().size(); ++i) {
      const std::string& name = fixture.store.entries()[i].name;
      EXPECT_EQ(fixture.buckets.hook_calls(i), name.starts_with("unused") ? 0 : 1) << name;
    }
    EXPECT_EQ(fixture.quantizer.pulls, std::vector<int>(fixture.quantizer.pulls.size(), step + 1));
  }
}

TEST(GradientBuckets, StaleHooksAreHarmless) {
  const auto alone = single_rank();
  Branches model(2);
  FakeQuantizer quantizer;
  ParameterStore store(model, quantizer, kOneEach);
  {
    GradientBuckets gone(store, quantizer, *alone);
    gone.begin();
    gone.arm();
  }
  model.forward(kInput, false).backward();
  EXPECT_EQ(quantizer.pull_back_calls, 0);
}

TEST(GradientBuckets, UnusedParametersGetZerosAndHoldNobodyUp) {
  const auto alone = single_rank();
  Fixture fixture(*alone, kOneEach);
  fixture.store.gradient().fill_(7);  // of an earlier step
  fixture.step(kInput);
  EXPECT_EQ(fixture.store.gradient_of(fixture.entry("unused.weight")).abs().max().item<float>(), 0);
  EXPECT_GT(fixture.store.gradient_of(fixture.entry("branch0.weight")).abs().max().item<float>(), 0);
  EXPECT_EQ(fixture.recorder.started.size(), fixture.store.buckets().size());
}

TEST(GradientBuckets, OnlyTheLastMicroBatchSumsAndPullsBack) {
  const auto alone = single_rank();
  Fixture whole(*alone, kOneEach), parts(*alone, kOneEach);
  whole.step(kInput);

  parts.buckets.begin();
  parts.model.forward(kInput.slice(0, 0, 1), false).backward();
  EXPECT_EQ(parts.quantizer.pull_back_calls, 0);
  EXPECT_TRUE(parts.recorder.started.empty());
  for (size_t i = 0; i < parts.store.entries().size(); ++i) EXPECT_EQ(parts.buckets.hook_calls(i), 0);
  parts.buckets.arm();
  const at::Tensor loss = parts.model.forward(kInput.slice(0, 1, 2), false);
  loss.backward();
  parts.buckets.finish(loss.detach(), "");
  EXPECT_EQ(parts.quantizer.pulls, std::vector<int>(parts.quantizer.pulls.size(), 1));
  for (size_t i = 0; i < parts.store.entries().size(); ++i) {
    const auto& entry = parts.store.entries()[i];
    EXPECT_TRUE(
        at::allclose(parts.store.gradient_of(entry), whole.store.gradient_of(whole.store.entries()[i])))
        << entry.name;
    EXPECT_TRUE(at::allclose(parts.store.own_gradient_of(entry),
                             whole.store.own_gradient_of(whole.store.entries()[i])))
        << entry.name;
  }
}

TEST(GradientBuckets, SmallGradientsAreCopiedWithTheirBucket) {
  const auto alone = single_rank();
  torch::manual_seed(1);
  torch::nn::Sequential model(Linear(300, 300), torch::nn::Tanh(), Linear(300, 2));
  const at::Tensor input = at::randn({5, 300});
  const auto loss_of = [&] { return model->forward(input).square().sum(); };
  FakeQuantizer quantizer(/*threshold=*/1 << 20);
  ParameterStore store(*model, quantizer, {});
  GradientBuckets buckets(store, quantizer, *alone);
  std::vector<at::Tensor> parameters;
  for (const ParameterEntry& entry : store.entries()) parameters.push_back(entry.parameter);
  // Of itself: it runs no hooks and leaves no gradient behind.
  const auto expected = torch::autograd::grad({loss_of()}, parameters);
  for (int step = 0; step < 2; ++step) {
    store.gradient().fill_(7);
    buckets.begin();
    buckets.arm();
    loss_of().backward();
    for (size_t i = 0; i < parameters.size(); ++i) {
      const bool is_there = at::equal(store.gradient_of(store.entries()[i]), expected[i].flatten());
      EXPECT_EQ(is_there, parameters[i].numel() == 90000) << store.entries()[i].name;
      EXPECT_EQ(parameters[i].grad().defined(), !is_there) << store.entries()[i].name;
    }
    EXPECT_EQ(buckets.finish(at::zeros({}), ""), "");
    for (size_t i = 0; i < parameters.size(); ++i) {
      EXPECT_TRUE(at::equal(store.gradient_of(store.entries()[i]), expected[i].flatten()));
      EXPECT_FALSE(parameters[i].grad().defined());
    }
  }
}

// Both gradients are views of one: kept until the bucket starts, they would keep all of it.
TEST(GradientBuckets, PartsOfALargerGradientDoNotWait) {
  struct Parts : torch::nn::Module {
    at::Tensor a = register_parameter("a", at::arange(100, at::kFloat));
    at::Tensor b = register_parameter("b", at::arange(50, at::kFloat));
  } model;
  const auto alone = single_rank();
  FakeQuantizer quantizer(/*threshold=*/1 << 20);
  ParameterStore store(model, quantizer, {});
  GradientBuckets buckets(store, quantizer, *alone);
  buckets.begin();
  buckets.arm();
  const at::Tensor factor = at::arange(150, at::kFloat);
  (at::cat({model.a, model.b}) * factor).sum().backward();
  for (const ParameterEntry& entry : store.entries()) {
    EXPECT_FALSE(entry.parameter.grad().defined()) << entry.name;
    const at::Tensor expected = entry.name == "a" ? factor.slice(0, 0, 100) : factor.slice(0, 100, 150);
    EXPECT_TRUE(at::equal(store.gradient_of(entry), expected)) << entry.name;
  }
}

TEST(GradientBuckets, SumsStartDuringBackward) {
  const auto alone = single_rank();
  Fixture fixture(*alone, kOneEach);
  fixture.buckets.begin();
  fixture.buckets.arm();
  const at::Tensor loss = (fixture.model.forward(kInput, false) + fixture.model.unused(at::ones({2})).sum());
  loss.backward();
  EXPECT_EQ(fixture.recorder.started.size(), fixture.store.buckets().size() - 1) << "all but the last";
  fixture.buckets.finish(loss.detach(), "");
  EXPECT_EQ(fixture.recorder.started.size(), fixture.store.buckets().size());
}

// Every rank's branches become ready in another order; what unused parameters there are stop all buckets
// behind them until finish().
TEST(GradientBuckets, SumsStartInIndexOrderWhateverTheOrderOfReadiness) {
  constexpr int kRanks = 3;
  std::vector<std::vector<int64_t>> started(kRanks);
  std::vector<std::vector<std::string>> ready(kRanks);
  std::vector<at::Tensor> gradients(kRanks);
  run_as_ranks(kRanks, [&](Communicator& communicator) {
    const int rank = communicator.rank();
    Fixture fixture(communicator, kOneEach);
    for (auto& branch : fixture.model.branches) {
      branch->weight.register_hook(
          [&, name = std::to_string(&branch - fixture.model.branches.data())](const at::Tensor& gradient) {
            ready[rank].push_back(name);
            return gradient;
          });
    }
    fixture.step(kInput * (rank + 1), /*backwards=*/rank == 1);
    started[rank] = fixture.recorder.started;
    gradients[rank] = fixture.store.gradient().clone();
  });
  EXPECT_NE(ready[0], ready[1]) << "or this test shows nothing";
  EXPECT_TRUE(std::is_sorted(started[0].begin(), started[0].end()));
  EXPECT_EQ(started[1], started[0]);
  EXPECT_EQ(started[2], started[0]);
  EXPECT_TRUE(same_bits({gradients[0], gradients[0]}, {gradients[1], gradients[2]}));

  // The same sum without any group.
  const auto alone = single_rank();
  Fixture fixture(*alone, {});
  at::Tensor sum = at::zeros({9});
  for (int rank = 0; rank < kRanks; ++rank) {
    fixture.step(kInput * (rank + 1), rank == 1);
    sum += fixture.store.gradient_of(fixture.entry("branch2.weight"));
  }
  const auto& entry = fixture.entry("branch2.weight");
  EXPECT_FALSE(at::allclose(sum, fixture.store.gradient_of(entry)));
  Fixture one_each(*alone, kOneEach);
  EXPECT_TRUE(at::allclose(sum, gradients[0].narrow(0, one_each.entry("branch2.weight").gradient_offset, 9)));
}

TEST(GradientBuckets, LossAndBuffersAreMeansOverTheGroup) {
  run_as_ranks(4, [](Communicator& communicator) {
    torch::nn::Sequential model(Linear(2, 2), torch::nn::BatchNorm1d(2));
    FakeQuantizer quantizer;
    ParameterStore store(*model, quantizer);
    GradientBuckets buckets(store, quantizer, communicator);
    at::Tensor mean = store.buffers()[0].tensor;
    buckets.begin();
    mean.fill_(static_cast<float>(communicator.rank()));
    buckets.finish(at::full({}, communicator.rank() == 3 ? NAN : 2.0 + communicator.rank()), "");
    EXPECT_TRUE(mean.eq(1.5).all().item<bool>()) << "(0 + 1 + 2 + 3) / 4";
    EXPECT_EQ(buckets.mean_loss(), 9.0 / 4) << "a loss that is not finite counts as 0";
    EXPECT_EQ(buckets.nonfinite_ranks(), 1);
    EXPECT_EQ(buckets.failed_ranks(), 0);
    buckets.restore_buffers();
    EXPECT_TRUE(mean.eq(0).all().item<bool>());
  });
}

TEST(GradientBuckets, FailingRanksAreCountedAndSumAsZeros) {
  run_as_ranks(3, [](Communicator& communicator) {
    const bool failing = communicator.rank() == 1;
    Fixture fixture(communicator, kOneEach);
    // In a hook: the first bucket's tensor is the last registered one that is quantised and used.
    if (failing) fixture.quantizer.throw_at = "branch3.weight";
    fixture.buckets.begin();
    fixture.buckets.arm();
    const at::Tensor loss = fixture.model.forward(kInput, false) + fixture.model.unused(at::ones({2})).sum();
    std::string failure;
    try {
      loss.backward();
    } catch (const std::exception& error) {
      failure = reason_of(error);
    }
    EXPECT_EQ(failure, failing ? "pull_back of branch3.weight failed" : "");
    EXPECT_EQ(fixture.buckets.finish(loss.detach(), failure), failure);
    EXPECT_EQ(fixture.buckets.failed_ranks(), 1);

    // In finish(): the last bucket's.
    Fixture late(communicator, {});
    if (failing) late.quantizer.throw_at = "branch0.weight";
    late.buckets.begin();
    late.buckets.arm();
    late.model.forward(kInput, false).backward();
    const float before = late.entry("branch0.bias").parameter.grad().abs().max().item<float>();
    EXPECT_GT(before, 0);
    EXPECT_EQ(late.buckets.finish(loss.detach(), ""), failing ? "pull_back of branch0.weight failed" : "");
    EXPECT_EQ(late.buckets.failed_ranks(), 1);
    EXPECT_FLOAT_EQ(late.store.gradient_of(late.entry("branch0.bias")).abs().max().item<float>(), 2 * before)
        << "of two ranks out of three";
  });
}

}  // namespace
}  // namespace diffq
