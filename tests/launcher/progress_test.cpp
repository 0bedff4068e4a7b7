#include "launcher/progress.h"

#include <gtest/gtest.h>

namespace diffq {
namespace {

std::string title(Method method, int bits = 0, double lambda = 0, double target_mb = 0) {
  Run run;
  run.spec.seed = 3;
  run.spec.method.method = method;
  run.spec.method.bits = bits;
  run.spec.method.lambda = lambda;
  run.spec.method.target_mb = target_mb;
  return run_title(run);
}

TEST(RunTitle, SaysWhatTellsRunsApart) {
  EXPECT_EQ(title(Method::fp32), "mnist small_cnn fp32 seed 3");
  EXPECT_EQ(title(Method::qat, 2), "mnist small_cnn qat 2 bits seed 3");
  EXPECT_EQ(title(Method::diffq, 0, 0.5), "mnist small_cnn diffq λ 0.5 seed 3");
  EXPECT_EQ(title(Method::diffq, 0, 0, 0.05), "mnist small_cnn diffq ≤ 0.05 MB seed 3");
}

}  // namespace
}  // namespace diffq
