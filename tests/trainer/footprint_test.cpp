#include "trainer/footprint.h"

#include <gtest/gtest.h>

#include "tests/trainer/training_rig.h"

namespace diffq {
namespace {

TEST(Footprint, IsThatOfTheModel) {
  const RunFootprint plan = footprint(small_spec(Method::fp32), kSmallShape);
  EXPECT_EQ(plan.parameters, 416 + 12832 + 8256 + 260);
  EXPECT_DOUBLE_EQ(plan.size_fp32_mb, double(plan.parameters) * 4 / (1 << 20));
  EXPECT_EQ(plan.start_size_mb, plan.size_fp32_mb);
  EXPECT_EQ(plan.least_size_mb, plan.size_fp32_mb);

  // 400 + 12800 + 8192 weights in groups of 8 are quantised; the rest is kept.
  constexpr double kMb = 8 * (1 << 20), kQuantised = 400 + 12800 + 8192;
  const RunSpec spec = small_spec(Method::diffq);
  const double kept = 32.0 * (double(plan.parameters) - kQuantised);
  const auto size = [&](double bits, double table) {
    return (kept + kQuantised * bits + 3 * (64 + 8) + table * kQuantised / 8) / kMb;
  };
  const RunFootprint packed = footprint(spec, kSmallShape);
  EXPECT_NEAR(packed.start_size_mb, size(8, 3), 1e-12) << "7 widths are left out below 8: 3 bits a group";
  EXPECT_NEAR(packed.least_size_mb, size(2, 0), 1e-12);
}

}  // namespace
}  // namespace diffq
