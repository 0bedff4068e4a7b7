#include "trainer/train_run.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <mutex>

#include "datasets/loader.h"
#include "tests/support/idx_files.h"
#include "tests/support/test_device.h"
#include "tests/support/thread_communicator.h"
#include "tests/trainer/run_alone.h"
#include "trainer/model_file.h"

namespace diffq {
namespace {

TEST(TrainRun, TheSameSpecificationGivesTheSameRecord) {
  for (const Method method : {Method::fp32, Method::diffq}) {
    RunSpec spec = learning_spec(method);
    spec.model.batchnorm = true;
    spec.train.epochs = 2;
    const auto first = without_measures(run_alone(spec));
    spec.data.workers = 3;
    EXPECT_EQ(without_measures(run_alone(spec)), first) << "whatever the number of loader threads";
    spec.seed = 6;
    EXPECT_NE(without_measures(run_alone(spec)).at("epochs"), first.at("epochs"));
  }
}

TEST(TrainRun, OnlyNoiseDependsOnTheRunsName) {
  for (const Method method : {Method::fp32, Method::diffq}) {
    const RunSpec spec = learning_spec(method);
    const auto train_loss = [&](const std::string& run_id) {
      return run_alone(spec, context_named(run_id)).epochs[0].train_loss;
    };
    EXPECT_EQ(train_loss("1") == train_loss("2"), method == Method::fp32);
  }
}

TEST(TrainRun, ADataProblemIsLearntByEveryMethod) {
  const RunRecord fp32 = run_alone(learning_spec(Method::fp32));
  EXPECT_GT(fp32.run.metric, 90) << "of four classes";
  EXPECT_EQ(fp32.run.status, "done");
  EXPECT_EQ(fp32.run.epochs, 4);
  EXPECT_EQ(fp32.run.steps, 40);
  ASSERT_EQ(fp32.epochs.size(), 4u);
  EXPECT_LT(fp32.epochs[3].train_loss, fp32.epochs[0].train_loss);
  EXPECT_EQ(fp32.epochs[3].metric, fp32.run.metric_valid);
  EXPECT_TRUE(fp32.layers.empty());
  EXPECT_TRUE(std::isnan(fp32.run.mean_bits));
  // conv1 16x25+16, conv2 32x16x25+32, linear1 64x128+64, linear2 4x64+4
  EXPECT_DOUBLE_EQ(fp32.run.size_fp32_mb, (416 + 12832 + 8256 + 260) * 4.0 / (1 << 20));
  EXPECT_DOUBLE_EQ(fp32.run.ratio, 1);

  const RunRecord qat = run_alone(learning_spec(Method::qat));
  EXPECT_GT(qat.run.metric, 85);
  EXPECT_DOUBLE_EQ(qat.run.mean_bits, 4);
  const int64_t quantised = 400 + 12800 + 8192, kept = 16 + 32 + 64 + 260;
  EXPECT_DOUBLE_EQ(qat.run.size_mb, (4.0 * quantised + 3 * 64 + 32 * kept) / 8 / (1 << 20));
  ASSERT_EQ(qat.layers.size(), 3u);
  for (const LayerRow& layer : qat.layers) EXPECT_EQ(layer.bits[4], layer.weights);

  const RunRecord diffq = run_alone(learning_spec(Method::diffq));
  EXPECT_GT(diffq.run.metric, 85);
  int64_t weights = 0;
  for (const LayerRow& layer : diffq.layers) {
    int64_t histogram = 0;
    for (const int64_t count : layer.bits) histogram += count;
    EXPECT_EQ(histogram, layer.weights);
    weights += layer.weights;
  }
  EXPECT_EQ(weights, quantised);
}

TEST(TrainRun, SizeFallsAsLambdaGrows) {
  std::vector<double> sizes;
  for (const double lambda : {0.0, 1.0, 10.0, 1000.0}) {
    RunSpec spec = learning_spec(Method::diffq);
    spec.method.lambda = lambda;
    const RunRecord record = run_alone(spec);
    sizes.push_back(record.epochs.back().expected_size_mb);
    EXPECT_NEAR(record.run.size_mb, sizes.back(), 0.1 * sizes.back());
  }
  for (size_t i = 1; i < sizes.size(); ++i) EXPECT_LT(sizes[i], sizes[i - 1]);
}

TEST(TrainRun, EndsAtTheTargetFromBelow) {
  TemporaryFolder folder;
  for (const double target : {0.0085, 0.012, 0.018}) {
    for (const double ema : {0.0, 0.9}) {
      RunSpec spec = learning_spec(Method::diffq);
      spec.method.target_mb = target;
      spec.train.ema = ema;
      RunContext context = context_named("0123456789ab");
      context.model_file = folder.path() / "model.safetensors";
      const RunRecord record = run_alone(spec, context);
      EXPECT_LE(record.run.size_mb, target);
      EXPECT_GT(record.run.size_mb, 0.99 * target);
      EXPECT_EQ(record.epochs.back().size_mb, record.run.size_mb);
      EXPECT_GT(record.run.metric, 80);
      int64_t packed = 0;  // the levels, ranges and widths of the file
      const PackedModel file = PackedModel::read(context.model_file);
      for (const ModelTensor& tensor : file.tensors()) packed += static_cast<int64_t>(tensor.bytes.size());
      EXPECT_LT(static_cast<double>(packed), record.run.size_mb * 1048576 + 3 * 17);
      for (const EpochRow& row : record.epochs) EXPECT_GE(row.lambda, 0);
    }
  }
}

TEST(TrainRun, FrozenBitsStayWhileWeightsLearnOn) {
  RunSpec spec = learning_spec(Method::diffq);
  spec.method.lambda = 20;
  const RunRecord free = run_alone(spec);
  EXPECT_NE(free.epochs[3].mean_bits, free.epochs[1].mean_bits);
  for (const Clip clip : {Clip::minmax, Clip::mse}) {
    for (const double ema : {0.0, 0.9}) {
      spec.method.clip = clip;
      spec.method.frozen = 0.5;
      spec.train.ema = ema;
      const RunRecord record = run_alone(spec);
      for (size_t epoch : {2, 3}) EXPECT_EQ(record.epochs[epoch].size_mb, record.epochs[2].size_mb);
      EXPECT_EQ(record.epochs[2].expected_size_mb, record.epochs[3].expected_size_mb);
      EXPECT_EQ(record.epochs[1].lambda, 20);
      EXPECT_EQ(record.epochs[2].lambda, 0);
      EXPECT_LT(record.epochs[3].eval_loss, record.epochs[1].eval_loss);
      EXPECT_GT(record.run.metric, 80);
    }
  }
  spec.method.target_mb = 0.012;
  const RunRecord fitted = run_alone(spec);
  EXPECT_LE(fitted.run.size_mb, 0.012);
  EXPECT_GT(fitted.run.size_mb, 0.99 * 0.012);
  EXPECT_EQ(fitted.epochs[2].size_mb, fitted.run.size_mb) << "met before the bits are frozen";
}

TEST(TrainRun, BatchNormIsMeasuredAnewForEachEvaluation) {
  TemporaryFolder folder;
  RunSpec spec = learning_spec(Method::qat);
  spec.method.bits = 2;
  spec.model.batchnorm = true;
  RunContext context = context_named("1");
  context.model_file = folder.path() / "model.safetensors";
  const auto first_means = [&](int64_t batches) {
    spec.eval.recalibrate_batchnorm = batches;
    run_alone(spec, context);
    const auto task = make_small_task(spec);
    load_module(PackedModel::read(context.model_file), task->module());
    // The first layer sees the pictures alone: what its statistics are of can be said by hand.
    at::Tensor mean, weight, bias;
    for (const auto& buffer : task->module().named_buffers())
      if (buffer.key() == "bn1.running_mean") mean = buffer.value();
    for (const auto& parameter : task->module().named_parameters()) {
      if (parameter.key() == "conv1.weight") weight = parameter.value();
      if (parameter.key() == "conv1.bias") bias = parameter.value();
    }
    const DataSplits data = memory_splits();
    const auto lists = training_batches(320, 32, 1, spec.seed, 0, 0, 1);
    at::Tensor expected = at::zeros_like(mean);
    for (int64_t i = 0; i < std::max<int64_t>(1, batches); ++i) {
      const at::Tensor seen =
          torch::conv2d(data.train->batch(lists[static_cast<size_t>(i)], {}).input, weight, bias, 2, 2);
      expected += seen.mean({0, 2, 3}) / static_cast<double>(std::max<int64_t>(1, batches));
    }
    return (mean - expected).abs().max().item<double>() / expected.abs().max().item<double>();
  };
  EXPECT_LT(first_means(3), 1e-4);
  EXPECT_GT(first_means(0), 1e-3) << "those of training are of other weights";
}

TEST(TrainRun, LambdaOfEachEpochIsInItsRow) {
  for (const EpochRow& row : run_alone(learning_spec(Method::diffq)).epochs) EXPECT_EQ(row.lambda, 1);
  for (const EpochRow& row : run_alone(learning_spec(Method::qat)).epochs)
    EXPECT_TRUE(std::isnan(row.lambda));
}

TEST(TrainRun, InitialWeightsAreThoseOfTheSeedAndModel) {
  TemporaryFolder folder;
  const auto initial = [&](Method method, double lambda, uint64_t seed) {
    RunSpec spec = learning_spec(method);
    spec.method.lambda = lambda;
    spec.seed = seed;
    spec.train.epochs = 0;
    spec.quant.exclude = {"*"};  // so that the file has the weights as they are
    RunContext context = context_named(std::to_string(seed) + "ab");
    context.model_file = folder.path() / "initial.safetensors";
    run_alone(spec, context);
    const auto alone = single_rank();
    const DataSplits data = memory_splits();
    TrainingRig rig(small_spec(Method::fp32), data, *alone);
    load_masters(PackedModel::read(context.model_file), rig.module(), rig.store);
    return std::vector<at::Tensor>{rig.store.master().clone()};
  };
  const auto fp32 = initial(Method::fp32, 0, 1);
  EXPECT_TRUE(same_bits(initial(Method::diffq, 0.5, 1), fp32));
  EXPECT_TRUE(same_bits(initial(Method::diffq, 5, 1), fp32));
  EXPECT_TRUE(same_bits(initial(Method::lsq, 0, 1), fp32));
  EXPECT_FALSE(same_bits(initial(Method::fp32, 0, 2), fp32));
}

TEST(TrainRun, AllRanksStartFromRank0sWeights) {
  TemporaryFolder folder;
  RunSpec spec = learning_spec(Method::fp32);
  RunContext saving = context_named("1");
  saving.model_file = folder.path() / "fp32.safetensors";
  const RunRecord alone = run_alone(spec, saving);
  spec.train.epochs = 0;
  run_as_ranks(2, [&](Communicator& communicator) {
    RunContext context = context_named("1");  // rank 1 has weights of its own
    if (communicator.rank() == 0) context.start_file = saving.model_file;
    const RunRecord record = train_run(spec, memory_splits(), communicator, context);
    EXPECT_EQ(record.run.metric, alone.run.metric);
    EXPECT_EQ(record.run.metric_valid, alone.run.metric_valid);
  });
}

TEST(TrainRun, AugmentsWithTheSeedAndTheEpoch) {
  class Noting : public MemoryData {
   public:
    using MemoryData::MemoryData;
    Batch batch(std::span<const int64_t> samples, const std::optional<AugmentKey>& augment) const override {
      const std::lock_guard lock(mutex);
      ++keys[augment ? std::pair{augment->seed, augment->epoch} : std::pair{uint64_t{0}, int64_t{-1}}];
      return MemoryData::batch(samples, augment);
    }
    mutable std::mutex mutex;
    mutable std::map<std::pair<uint64_t, int64_t>, int> keys;
  };
  DataSplits data = memory_splits();
  const auto train = std::make_shared<Noting>(320, kSmallShape, 1);
  const auto valid = std::make_shared<Noting>(70, kSmallShape, 2);
  data.train = train;
  data.valid = valid;
  RunSpec spec = small_spec(Method::fp32);
  spec.train.epochs = 2;
  train_run(spec, data, *single_rank(), context_named("1"));
  using Keys = std::map<std::pair<uint64_t, int64_t>, int>;
  EXPECT_EQ(train->keys, (Keys{{{5, 0}, 10}, {{5, 1}, 10}}));
  EXPECT_EQ(valid->keys, (Keys{{{0, -1}, 2}}));
}

TEST(TrainRun, GoesOnFromAFinishedRun) {
  TemporaryFolder folder;
  RunSpec spec = learning_spec(Method::fp32);
  spec.model.batchnorm = true;
  RunContext context = context_named("1");
  context.model_file = folder.path() / "fp32.safetensors";
  const RunRecord fp32 = run_alone(spec, context);
  EXPECT_GT(fp32.run.metric, 90);

  context = context_named("2");
  context.start_file = folder.path() / "fp32.safetensors";
  spec.train.epochs = 0;
  const RunRecord same = run_alone(spec, context);
  EXPECT_EQ(same.run.metric, fp32.run.metric) << "nothing is lost on the way, buffers included";
  EXPECT_EQ(same.run.metric_valid, fp32.run.metric_valid);
  EXPECT_EQ(same.run.steps, 0);

  spec.method.method = Method::ptq;
  spec.method.bits = 8;
  EXPECT_NEAR(run_alone(spec, context).run.metric, fp32.run.metric, 3);
  spec.method.bits = 1;
  EXPECT_LT(run_alone(spec, context).run.metric, fp32.run.metric) << "two levels a tensor are too few";

  RunSpec lsq = learning_spec(Method::lsq);
  lsq.model.batchnorm = true;
  lsq.train.epochs = 1;
  lsq.train.optimizer.lr = 1e-3;
  const RunRecord tuned = run_alone(lsq, context), untrained = run_alone(lsq, context_named("2"));
  EXPECT_GT(tuned.run.metric, 85);
  EXPECT_LT(tuned.epochs[0].train_loss, 0.5 * untrained.epochs[0].train_loss);
}

TEST(TrainRun, TellsItsProgressInOrder) {
  std::vector<int64_t> steps, epochs;
  RunContext context = context_named("1");
  context.on_progress = [&](const RunProgress& progress) {
    EXPECT_EQ(progress.epochs, 2);
    EXPECT_EQ(progress.steps, 10);
    steps.push_back((progress.epoch - 1) * progress.steps + progress.step);
  };
  context.on_epoch = [&](const EpochRow& row) {
    epochs.push_back(row.epoch);
    EXPECT_EQ(steps.back(), row.epoch * 10);
  };
  RunSpec spec = small_spec(Method::fp32);
  spec.train.epochs = 2;
  run_alone(spec, context);
  ASSERT_EQ(steps.size(), 20u);
  for (size_t i = 0; i < steps.size(); ++i) EXPECT_EQ(steps[i], static_cast<int64_t>(i) + 1);
  EXPECT_EQ(epochs, (std::vector<int64_t>{1, 2}));
}

}  // namespace
}  // namespace diffq
