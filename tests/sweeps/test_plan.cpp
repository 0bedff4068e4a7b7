#include "sweeps/plan.h"

#include <cmath>

#include "tests/sweeps/sweep_text.h"

namespace diffq {
namespace {

Sweep small() {
  return read_text(
      with_methods(R"({"method": "fp32"}, {"method": "ptq", "bits": 4}, {"method": "diffq", "lambda": 0.25})",
                   R"(, "seeds": [12])"));
}

TEST(Plan, IsAnAlignedTable) {
  const Sweep sweep = small();
  const std::string a = sweep.runs[0].run_id, b = sweep.runs[1].run_id, c = sweep.runs[2].run_id;
  EXPECT_EQ(plan_text(sweep),
            "run           dataset  model      method  λ | bits  seed  starts from\n" + a +
                "  mnist    small_cnn  fp32                12\n" + b +
                "  mnist    small_cnn  ptq       4 bits    12  " + a + "\n" + c +
                "  mnist    small_cnn  diffq     λ 0.25    12\n" +
                "3 runs, each trained by a group of 1 rank; 1 of them starts from another run\n");
}

TEST(Plan, TakesTheCallersColumns) {
  const Sweep sweep = small();
  const std::string text = plan_text(sweep, {{393216, 1.5, 1.5, 1.5, 20, "done"},
                                             {393216, 1.5, NAN, 0.09375, NAN, "to run"},
                                             {2686976, 10.25, 2.75, 0.75, 300.125, "to run"}});
  EXPECT_NE(text.find("starts from   parameters  fp32 MB  start MB  least MB  memory MB  state\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("                   393216     1.50      1.50      1.50      20.00  done\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("      393216     1.50              0.0938             to run\n"), std::string::npos)
      << text;
  EXPECT_NE(text.find("     2686976    10.25      2.75    0.7500     300.12  to run\n"), std::string::npos)
      << text;
  EXPECT_NE(text.find("; 1 done, 2 to run\n"), std::string::npos) << text;
  EXPECT_THROW(plan_text(sweep, {{1, 1, 1, 1, 1, ""}}), std::invalid_argument);
}

}  // namespace
}  // namespace diffq
