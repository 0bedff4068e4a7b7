#include "trainer/weight_average.h"

#include <gtest/gtest.h>

#include "tests/support/idx_files.h"
#include "tests/support/thread_communicator.h"
#include "tests/trainer/training_rig.h"
#include "trainer/model_file.h"
#include "trainer/train_run.h"

namespace diffq {
namespace {

constexpr double kDecay = 0.75;

RunSpec spec_of(Method method) {
  RunSpec spec = small_spec(method);
  spec.model.batchnorm = true;
  spec.train.epochs = 2;
  return spec;
}

RunRecord train(const RunSpec& spec, const std::string& model_file) {
  RunContext context;
  context.run_id = "5eed";
  context.model_file = model_file;
  const DataSplits data = memory_splits();
  const auto alone = single_rank();
  return train_run(spec, data, *alone, context);
}

TEST(WeightAverage, FollowsTheValuesAndChangesPlacesWithThem) {
  const DataSplits data = memory_splits();
  const auto alone = single_rank();
  TrainingRig rig(spec_of(Method::diffq), data, *alone);
  const auto set = [&](double value) {
    rig.store.master().fill_(value);
    rig.store.own().fill_(2 * value);
    for (const auto& buffer : rig.store.buffers()) buffer.tensor.fill_(3 * value);
  };
  const auto expect = [&](double value, const std::string& what) {
    EXPECT_TRUE(at::allclose(rig.store.master(), at::full_like(rig.store.master(), value))) << what;
    EXPECT_TRUE(at::allclose(rig.store.own(), at::full_like(rig.store.own(), 2 * value))) << what;
    ASSERT_FALSE(rig.store.buffers().empty());
    for (const auto& buffer : rig.store.buffers())
      EXPECT_TRUE(at::allclose(buffer.tensor, at::full_like(buffer.tensor, 3 * value))) << what;
  };
  set(1);
  WeightAverage average(rig.store, kDecay);
  set(5);
  average.update();
  set(9);
  average.update();
  average.swap();
  expect(0.75 * (0.75 * 1 + 0.25 * 5) + 0.25 * 9, "the averages");
  average.swap();
  expect(9, "the values again");
  EXPECT_EQ(average.averages().front().first, "master");
}

// The same training by hand, step by step.
TEST(WeightAverage, IsWhatARunPacksAndTests) {
  TemporaryFolder folder;
  const std::string file = folder.path() / "model.safetensors";
  RunSpec spec = spec_of(Method::fp32);
  const RunRecord plain = train(spec, "");
  spec.train.ema = kDecay;
  const RunRecord averaged = train(spec, file);
  EXPECT_EQ(averaged.epochs[1].train_loss, plain.epochs[1].train_loss) << "training itself is the same";
  EXPECT_NE(averaged.epochs[1].eval_loss, plain.epochs[1].eval_loss);

  const DataSplits data = memory_splits();
  const auto alone = single_rank();
  TrainingRig rig(spec, data, *alone);
  const auto copy = [&] { return rig.state(); };  // master, own, buffers, moments
  std::vector<at::Tensor> by_hand = copy();
  for (int step = 0; step < 20; ++step) {
    rig.step(step);
    const auto now = copy();
    for (size_t i = 0; i < by_hand.size(); ++i) by_hand[i] = by_hand[i] * kDecay + now[i] * (1 - kDecay);
  }
  const auto task = make_small_task(spec);
  const auto quantizer = make_quantizer({}, {});
  const ParameterStore store(task->module(), *quantizer);
  load_masters(PackedModel::read(file), task->module(), store);
  EXPECT_TRUE(at::allclose(store.master(), by_hand[0], 1e-5, 1e-6));
  for (size_t i = 0; i < store.buffers().size(); ++i)
    EXPECT_TRUE(at::allclose(store.buffers()[i].tensor, by_hand[2 + i], 1e-5, 1e-6)) << i;
}

TEST(WeightAverage, BitsAreAveragedToo) {
  RunSpec spec = spec_of(Method::diffq);
  spec.method.lambda = 100;
  const RunRecord plain = train(spec, "");
  spec.train.ema = 0.95;
  const RunRecord averaged = train(spec, "");
  EXPECT_LT(plain.run.size_mb, averaged.run.size_mb) << "the average lags behind bits that fall";
  EXPECT_EQ(averaged.epochs.back().size_mb, averaged.run.size_mb);
}

}  // namespace
}  // namespace diffq
