// Training with the GPU's kernels, emulated or there (tests/support/test_device.h), beside training on the
// CPU.

#include "trainer/device_update.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "datasets/loader.h"
#include "quant/device_quantizer.h"
#include "tests/support/test_device.h"
#include "tests/support/thread_communicator.h"
#include "tests/trainer/training_rig.h"

namespace diffq {
namespace {

std::shared_ptr<Quantizer> device_quantizer(const RunSpec& spec) {
  if (spec.method.method == Method::fp32) return make_quantizer(spec.method, spec.quant);
  return std::make_shared<DeviceQuantizer>(spec.method, spec.quant, test_kernels());
}

RigParts device_parts(const RunSpec& spec) {
  RigParts parts;
  parts.task = make_small_task(spec);
  parts.task->module().to(test_device());
  parts.quantizer = device_quantizer(spec);
  parts.kernels = &test_update_kernels();
  parts.make_graph = test_step_graphs();
  return parts;
}

double difference(const at::Tensor& a, const at::Tensor& b) {
  return ((a.cpu() - b).abs().max() / b.abs().max()).item<double>();
}

/// Bit for bit where the model runs on the CPU too, else to rounding.
bool same(const std::vector<at::Tensor>& device, const std::vector<at::Tensor>& cpu) {
  if (test_device().is_cpu()) return same_bits(device, cpu);
  for (size_t i = 0; i < cpu.size(); ++i) {
    if (cpu[i].numel() > 0 && !at::allclose(device[i].cpu(), cpu[i], 1e-3, 1e-5)) return false;
  }
  return device.size() == cpu.size();
}

double loss_tolerance() { return test_device().is_cpu() ? 0 : 1e-4; }

OptimizerSpec optimizer_of(OptimizerName name) {
  OptimizerSpec spec;
  spec.name = name;
  spec.lr = is_sgd(name) ? 0.05 : 0.002;
  spec.weight_decay = 0.01;
  return spec;
}

TEST(DeviceUpdate, OptimizersAreThoseOfTheCpu) {
  for (const auto& [word, name] : kOptimizerNames) {
    for (const double momentum : {0.0, 0.9}) {
      RunSpec spec = small_spec(Method::fp32);
      spec.train.optimizer = optimizer_of(name);
      spec.train.optimizer.momentum = momentum;
      const DataSplits data = memory_splits();
      const auto alone = single_rank();
      TrainingRig cpu(spec, data, *alone), device(spec, data, *alone, device_parts(spec));
      for (int step = 0; step < 5; ++step) {
        const StepResult expected = cpu.step(step), result = device.step(step);
        EXPECT_EQ(result.step, step);
        EXPECT_NEAR(result.loss, expected.loss, loss_tolerance());
        EXPECT_NEAR(result.gradient_norm, expected.gradient_norm,
                    (loss_tolerance() + 1e-12) * expected.gradient_norm);
        EXPECT_TRUE(same(device.state(), cpu.state())) << word << " " << momentum << " step " << step;
      }
      EXPECT_EQ(device.train_step.weights_optimizer().steps(), 5);
    }
  }
}

TEST(DeviceUpdate, FiftyStepsOfEachMethodStayBesideTheCpus) {
  // Where the model runs on another device too, a weight may be rounded the other way.
  const double tolerance = test_device().is_cpu() ? 1e-3 : 2e-2;
  for (const Method method : {Method::diffq, Method::lsq, Method::qat, Method::ptq}) {
    RunSpec spec = small_spec(method);
    spec.train.max_grad_norm = 0.5;
    spec.method.lambda = 5;
    const DataSplits data = memory_splits();
    const auto alone = single_rank();
    TrainingRig cpu(spec, data, *alone), device(spec, data, *alone, device_parts(spec));
    const at::Tensor start = cpu.store.master().clone();
    double last = 0;
    for (int step = 0; step < 50; ++step) {
      const StepResult expected = cpu.step(step), result = device.step(step);
      ASSERT_NEAR(result.loss, expected.loss, tolerance) << "step " << step;
      last = expected.loss;
    }
    EXPECT_LT(last, 1.2);
    EXPECT_GT(difference(start, cpu.store.master()), 0.1) << "it trains";
    EXPECT_LT(difference(device.store.master(), cpu.store.master()), tolerance);
    if (cpu.store.own().numel() > 0) {
      EXPECT_LT(difference(device.store.own(), cpu.store.own()), tolerance);
    }
    EXPECT_NEAR(device.parts.quantizer->size_mb(), cpu.parts.quantizer->size_mb(), 0.1 * tolerance);
  }
}

TEST(DeviceUpdate, FrozenBitsStayAndWeightsLearnOn) {
  RunSpec spec = small_spec(Method::diffq);
  apply_preset(Preset::strong, spec.method);
  spec.method.bits_lr = 0.3;
  spec.method.lambda = 50;
  const DataSplits data = memory_splits();
  const auto alone = single_rank();
  TrainingRig cpu(spec, data, *alone), device(spec, data, *alone, device_parts(spec));
  at::Tensor bits, weights;
  for (int step = 0; step < 20; ++step) {
    const bool frozen = step >= 12;
    if (step == 12) {
      bits = device.store.own().cpu().clone();
      weights = device.store.master().cpu().clone();
    }
    if (frozen) {
      cpu.parts.quantizer->freeze();
      device.parts.quantizer->freeze();
    }
    EXPECT_NEAR(device.step(step, frozen).loss, cpu.step(step, frozen).loss, 2e-2) << "step " << step;
  }
  EXPECT_TRUE(at::equal(device.store.own().cpu(), bits)) << "whatever the optimiser remembers";
  EXPECT_GT(difference(device.store.master(), weights), 0.01);
  EXPECT_LT(difference(device.store.master(), cpu.store.master()), 2e-2);
}

std::vector<at::Tensor> parameters_of(const TrainingRig& rig) {
  std::vector<at::Tensor> parameters;
  for (const auto& entry : rig.store.entries()) parameters.push_back(entry.parameter.detach().cpu().clone());
  return parameters;
}

TEST(DeviceUpdate, WeightsInBfloat16AreThoseThatAutocastMakes) {
  std::vector<RunSpec> specs;
  for (const Method method : {Method::diffq, Method::qat, Method::lsq, Method::ptq})
    specs.push_back(small_spec(method));
  specs.back().method.clip = Clip::mse;
  specs.push_back(small_spec(Method::diffq));
  specs.back().method.clip = Clip::mse;
  for (RunSpec& spec : specs) {
    const Method method = spec.method.method;
    spec.train.precision = Precision::bf16;
    spec.train.accumulate_steps = 2;
    const DataSplits data = memory_splits();
    const auto alone = single_rank();
    TrainingRig cpu(spec, data, *alone), device(spec, data, *alone, device_parts(spec));
    const auto is_bf16 = [](const ParameterEntry& entry) { return entry.is_bf16; };
    EXPECT_EQ(std::ranges::count_if(device.store.entries(), is_bf16), 3);
    EXPECT_EQ(std::ranges::count_if(cpu.store.entries(), is_bf16), 0);
    EXPECT_LT(device.store.bytes(), cpu.store.bytes());
    for (int step = 0; step < 6; ++step) {
      // The ends of a clip are sums in another order on another device.
      const double tolerance = test_device().is_cpu() && spec.method.clip == Clip::minmax ? 0 : 2e-2;
      if (step == 4 && method == Method::diffq) {
        cpu.parts.quantizer->freeze();
        device.parts.quantizer->freeze();
      }
      const bool frozen = step >= 4 && method == Method::diffq;
      EXPECT_NEAR(device.step(step, frozen).loss, cpu.step(step, frozen).loss, tolerance) << step;
      if (step % 2 == 0) continue;
      // Evaluated is what is packed, to the last bit.
      cpu.parts.quantizer->materialize_rounded();
      device.parts.quantizer->materialize_rounded();
      const std::vector<at::Tensor> rounded = parameters_of(device);
      for (const at::Tensor& each : rounded) EXPECT_EQ(each.scalar_type(), at::kFloat);
      // Another device's weights may be rounded the other way.
      if (tolerance == 0) {
        EXPECT_TRUE(same(rounded, parameters_of(cpu))) << int(method) << " step " << step;
      }
    }
  }
}

/// Its loss is no number in step 2.
RigParts with_nan_loss(const RunSpec& spec, int& step) {
  RigParts parts = device_parts(spec);
  parts.task = std::make_shared<AlteredTask>(parts.task, [&](const at::Tensor& loss, torch::nn::Module&) {
    return step == 2 ? loss * std::nan("") : loss;
  });
  return parts;
}

TEST(DeviceUpdate, NothingChangesInAStepThatIsNotFinite) {
  RunSpec spec = small_spec(Method::diffq);
  spec.model.batchnorm = true;
  spec.train.optimizer = optimizer_of(OptimizerName::adam);
  const DataSplits data = memory_splits();
  const auto alone = single_rank();
  int step = 0;
  TrainingRig rig(spec, data, *alone, with_nan_loss(spec, step));
  ASSERT_GT(rig.store.buffers().size(), 0u);
  for (; step < 2; ++step) EXPECT_EQ(rig.step(step).skipped, "");
  const std::vector<at::Tensor> before = rig.state();
  EXPECT_EQ(rig.step(step).skipped, "the loss is not finite");
  EXPECT_TRUE(same_bits(rig.state(), before));
  EXPECT_EQ(rig.train_step.weights_optimizer().steps(), 2);
  EXPECT_EQ(rig.train_step.updated().item<float>(), 0);
  ++step;
  EXPECT_EQ(rig.step(step).skipped, "");
  EXPECT_FALSE(same_bits(rig.state(), before));
  EXPECT_EQ(rig.train_step.own_optimizer().steps(), 3);
  EXPECT_EQ(rig.train_step.updated().item<float>(), 1);
}

TEST(DeviceUpdate, NormAndBitsThatAreNotFiniteAreNamed) {
  const RunSpec spec = small_spec(Method::diffq);
  const DataSplits data = memory_splits();
  const auto alone = single_rank();
  // The square of 1e35 is a double; times a range of 1e9 it is no float any more.
  for (const auto& [gradient, reason] : {std::pair{HUGE_VAL, "the norm of the gradient is not finite"},
                                         {1e35, "the gradient of the bits or scales is not finite"}}) {
    TrainingRig rig(spec, data, *alone, device_parts(spec));
    const auto& entries = rig.store.entries();
    const auto entry =
        std::find_if(entries.begin(), entries.end(), [](const auto& e) { return e.quantized; });
    rig.store.master_of(*entry).mul_(1e9);
    entry->parameter.register_hook([value = gradient](at::Tensor g) { return at::full_like(g, value); });
    const std::vector<at::Tensor> before = rig.state();
    EXPECT_EQ(rig.step(0).skipped, reason);
    EXPECT_EQ(rig.train_step.weights_optimizer().steps(), 0);
    EXPECT_TRUE(same_bits(rig.state(), before));
  }
}

TEST(DeviceUpdate, ResultsComeAStepLater) {
  const RunSpec spec = small_spec(Method::diffq);
  const DataSplits data = memory_splits();
  const auto alone = single_rank();
  TrainingRig cpu(spec, data, *alone), device(spec, data, *alone, device_parts(spec));
  std::vector<double> expected;
  for (int step = 0; step < 3; ++step) expected.push_back(cpu.step(step).loss);
  const auto run = [&](int step) {
    return device.train_step.run(step, {spec.train.optimizer.lr, spec.method.lambda}, [&] {
      std::vector<int64_t> samples =
          training_batches(data.train->size(), spec.train.batch_size, 1, spec.seed, 0, 0, 1, step).front();
      return data.train->batch(samples, {});
    });
  };
  EXPECT_FALSE(device.train_step.settle());
  EXPECT_FALSE(run(0));
  EXPECT_NEAR(run(1).value().loss, expected[0], 1e-6 + loss_tolerance());
  EXPECT_NEAR(run(2).value().loss, expected[1], 1e-6 + loss_tolerance());
  EXPECT_NEAR(device.train_step.peek().value().loss, expected[2], 1e-6 + loss_tolerance());
  EXPECT_EQ(device.train_step.weights_optimizer().steps(), 3);
  EXPECT_NEAR(device.train_step.settle().value().loss, expected[2], 1e-6 + loss_tolerance());
  EXPECT_FALSE(device.train_step.settle());
  EXPECT_FALSE(device.train_step.peek());
}

/// Twelve steps at a rate and λ that change, bits frozen from step 8 on, a loss that is no number in step 5.
std::vector<StepResult> changing_steps(TrainingRig& rig, const DataSplits& data) {
  std::vector<StepResult> results;
  for (int step = 0; step < 12; ++step) {
    if (step == 8) rig.parts.quantizer->freeze();
    const StepRates rates{.lr = 0.05 / (1 + step), .lambda = 1.0 * step, .frozen = step >= 8};
    const auto next_batch = [&, micro = 0]() mutable {
      const int64_t first = (step * 4 + 2 * micro++) * 5 % 300;
      Batch batch = data.train->batch(std::vector<int64_t>{first, first + 1, first + 2, first + 3}, {});
      if (step == 5) batch.input.fill_(std::nan(""));
      return batch;
    };
    const auto result = rig.train_step.run(step, rates, next_batch, /*stop=*/step == 6);
    results.push_back(result ? *result : rig.train_step.settle().value());
  }
  return results;
}

TEST(DeviceUpdate, ARecordedStepIsTheStepItself) {
  const OwnStream stream(test_device());
  for (const bool batchnorm : {false, true}) {
    RunSpec spec = small_spec(Method::diffq);
    spec.model.batchnorm = batchnorm;
    spec.train.accumulate_steps = 2;
    spec.train.max_grad_norm = 0.5;
    RunSpec recorded_spec = spec;
    recorded_spec.train.cuda_graph = true;
    const DataSplits data = memory_splits();
    const auto alone = single_rank();
    TrainingRig plain(spec, data, *alone, device_parts(spec));
    TrainingRig recorded(recorded_spec, data, *alone, device_parts(spec));
    const std::vector<StepResult> expected = changing_steps(plain, data),
                                  results = changing_steps(recorded, data);
    for (size_t step = 0; step < results.size(); ++step) {
      EXPECT_EQ(results[step].loss, expected[step].loss) << step;
      // NaN in step 5.
      if (step != 5) {
        EXPECT_EQ(results[step].gradient_norm, expected[step].gradient_norm) << step;
      }
      EXPECT_EQ(results[step].skipped, step == 5 ? "the loss is not finite" : "") << step;
      EXPECT_EQ(results[step].stop, step == 6) << step;
    }
    EXPECT_TRUE(same_bits(recorded.state(), plain.state()));
    EXPECT_EQ(recorded.train_step.weights_optimizer().steps(), 11);
  }
}

TEST(DeviceUpdate, RanksSumWhatTheyRecorded) {
  if (!test_device().is_cpu()) GTEST_SKIP() << "threads as ranks sum in the host's memory";
  const DataSplits data = memory_splits();
  std::array<std::vector<at::Tensor>, 2> states;
  std::array<std::string, 2> reasons;
  for (const bool graph : {false, true}) {
    RunSpec spec = small_spec(Method::diffq);
    spec.model.batchnorm = true;
    spec.train.cuda_graph = graph;
    run_as_ranks(2, [&](Communicator& communicator) {
      RigParts parts = device_parts(spec);
      parts.limits = {.first_bytes = 64, .bytes = 256};  // many buckets
      TrainingRig rig(spec, data, communicator, parts);
      for (int step = 0; step < 7; ++step) rig.step(step);
      if (communicator.rank() == 0) states[graph] = rig.state();
      const std::string reason = failure_of([&] {
        for (int step = 7; step < 10; ++step) {
          rig.train_step.run(step, {0.1, spec.method.lambda}, [&]() -> Batch {
            if (step == 7 && communicator.rank() == 1) throw std::runtime_error("unreadable");
            return data.train->batch(std::vector<int64_t>(16, 3), {});
          });
        }
      });
      if (communicator.rank() == 0) reasons[graph] = reason;
    });
  }
  EXPECT_TRUE(same_bits(states[1], states[0]));
  EXPECT_EQ(reasons[1], "unreadable");
  EXPECT_EQ(reasons[0], "unreadable");
}

TEST(DeviceUpdate, AFailureEndsTheRunOnAllRanksForTheSameReason) {
  if (!test_device().is_cpu()) GTEST_SKIP() << "threads as ranks sum in the host's memory";
  const RunSpec spec = small_spec(Method::diffq);
  const DataSplits data = memory_splits();
  std::array<std::string, 2> reasons;
  run_as_ranks(2, [&](Communicator& communicator) {
    TrainingRig rig(spec, data, communicator, device_parts(spec));
    reasons[static_cast<size_t>(communicator.rank())] = failure_of([&] {
      for (int step = 0; step < 4; ++step) {
        rig.train_step.run(step, {0.1, spec.method.lambda}, [&]() -> Batch {
          if (step == 1 && communicator.rank() == 1) throw std::runtime_error("unreadable");
          const std::vector<int64_t> samples{0, 1, 2, 3};
          return data.train->batch(samples, {});
        });
        EXPECT_LT(step, 2) << "known a step later";
      }
    });
  });
  EXPECT_EQ(reasons[0], "unreadable");
  EXPECT_EQ(reasons[1], "unreadable");
}

TEST(DeviceUpdate, AloneAFailureIsToldAtOnce) {
  const RunSpec spec = small_spec(Method::diffq);
  const DataSplits data = memory_splits();
  const auto alone = single_rank();
  TrainingRig rig(spec, data, *alone, device_parts(spec));
  EXPECT_EQ(failure_of([&] {
              rig.train_step.run(0, {0.1, spec.method.lambda},
                                 []() -> Batch { throw std::runtime_error("unreadable"); });
            }),
            "unreadable");
}

}  // namespace
}  // namespace diffq
