#include "trainer/size_penalty.h"

#include <gtest/gtest.h>

namespace diffq {
namespace {

MethodSpec with_target(double target_mb) {
  MethodSpec method;
  method.method = Method::diffq;
  method.target_mb = target_mb;
  return method;
}

TEST(SizePenalty, IsTheGivenLambdaWithoutATarget) {
  MethodSpec method = with_target(0);
  method.lambda = 0.3;
  const SizePenalty penalty(method, 8, 1.5, 100);
  double strength = penalty.start();
  for (int64_t step = 0; step < 100; ++step) {
    const auto not_asked = []() -> double { throw std::logic_error("nobody needs the size"); };
    EXPECT_EQ(penalty.lambda(step, not_asked, strength), 0.3);
  }
}

TEST(SizePenalty, ThePathFallsFromTheStartToTheTargetAndStaysThere) {
  const SizePenalty penalty(with_target(2), 8, 1, 1000);
  EXPECT_EQ(penalty.path_mb(0), 8);
  for (int64_t step = 1; step < 1000; ++step) EXPECT_LE(penalty.path_mb(step), penalty.path_mb(step - 1));
  EXPECT_EQ(penalty.path_mb(700), 2);
  EXPECT_EQ(penalty.path_mb(999), 2);
}

TEST(SizePenalty, ThePathIsShorterToTheLeastSize) {
  const auto steps_to = [](double target) {
    const SizePenalty penalty(with_target(target), 8, 1, 1000);
    int64_t step = 0;
    while (penalty.path_mb(step) > penalty.path_mb(999)) ++step;
    return step;
  };
  EXPECT_EQ(steps_to(1), 250);
  EXPECT_EQ(steps_to(1.35), 375);
  EXPECT_EQ(steps_to(1.7), 500);
  EXPECT_EQ(steps_to(4), 500);
}

TEST(SizePenalty, ActsOnlyAboveThePathAndGrowsThere) {
  const SizePenalty penalty(with_target(2), 8, 1, 1000);
  const auto at = [&](double size, double& strength) {
    return penalty.lambda(
        900, [&] { return size; }, strength);
  };
  double strength = penalty.start();
  EXPECT_EQ(at(2, strength), 0);
  EXPECT_EQ(at(1.5, strength), 0);
  EXPECT_LT(strength, penalty.start()) << "falls while it is not needed";
  double before = strength;
  EXPECT_EQ(at(3, strength), strength) << "all of it";
  EXPECT_GT(strength, before);
  EXPECT_LT(at(2.005, strength), strength) << "less, near the path";
  EXPECT_GT(at(2.005, strength), 0);
}

/// Bits that lean to their own place and yield to λ, whatever it must be: it is found, from below and above.
TEST(SizePenalty, FindsTheLambdaThatHoldsTheTarget) {
  for (const double needed : {1e-3, 1.0, 1e3}) {
    const SizePenalty penalty(with_target(2), 8, 1, 1000);
    double strength = penalty.start(), size = 8, sum = 0;
    for (int64_t step = 0; step < 1000; ++step) {
      const double lambda = penalty.lambda(
          step, [&] { return size; }, strength);
      size += 0.03 * (lambda < needed ? 1 : -1);
      size = std::min(size, 8.0);
      if (step >= 800) sum += lambda / 200;
    }
    EXPECT_NEAR(size, 2, 0.1) << needed;
    EXPECT_NEAR(sum / needed, 1, 0.6) << needed;
  }
}

}  // namespace
}  // namespace diffq
