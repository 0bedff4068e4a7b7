// The sweep files that ship are valid and say what their comments promise.

#include <set>

#include "tests/sweeps/sweep_text.h"

namespace diffq {
namespace {

TEST(SweepFiles, Demo) {
  const Sweep sweep = read_text(shipped("demo.json"));
  EXPECT_EQ(sweep.name, "demo");
  ASSERT_EQ(sweep.runs.size(), 2u * (1 + 3 + 4));
  std::set<std::string> ids;
  for (const auto& run : sweep.runs) ids.insert(run.run_id);
  EXPECT_EQ(ids.size(), sweep.runs.size());
  const RunSpec& last = sweep.runs[4].spec;
  EXPECT_EQ(last.method.method, Method::diffq);
  EXPECT_EQ(last.method.group_size, 8);
  const auto steps = double(last.train.epochs * (50000 / last.train.batch_size));
  EXPECT_NEAR(steps * last.method.bits_lr, 4, 0.5);
}

TEST(SweepFiles, ImageSmall) {
  const Sweep sweep = read_text(shipped("image_small.json"));
  EXPECT_EQ(sweep.name, "image_small");
  ASSERT_EQ(sweep.runs.size(), 1u + 4 + 5);
  for (const auto& run : sweep.runs) {
    EXPECT_EQ(run.spec.model.name, ModelName::resnet20);
    EXPECT_EQ(run.spec.data.augment.shift, 2);
  }
}

}  // namespace
}  // namespace diffq
