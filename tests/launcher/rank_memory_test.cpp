#include "launcher/rank_memory.h"

#include <sys/stat.h>
#include <sys/sysinfo.h>

#include <cmath>

#include "tests/launcher/sweeps.h"
#include "tests/support/idx_files.h"
#include "tests/sweeps/sweep_text.h"

namespace diffq {
namespace {

/// What a plan would tell of a run if `script` were the program.
double told_by(const std::string& script) {
  const TemporaryFolder folder;
  const std::string program = (folder.path() / "program").string();
  write_text(program, "#!/bin/bash\n" + script + "\n");
  chmod(program.c_str(), 0755);
  const Sweep sweep = read_text(R"({"sweep": "s", "seeds": [1], "benchmarks": [{
      "data": {"name": "idx", "root": "x", "valid_samples": 32}, "model": {"name": "small_cnn"},
      "train": {"batch_size": 8}, "methods": [{"method": "fp32"}]}]})");
  return RankMemory(program).mb(sweep.runs.front(), 1);
}

TEST(RankMemory, IsWhatTheDryRunTellsAndMpi) { EXPECT_EQ(told_by("echo 700"), 712); }

TEST(RankMemory, IsUnknownWhereADryRunEndsBadly) {
  EXPECT_TRUE(std::isnan(told_by("echo 700; exit 1")));
  EXPECT_TRUE(std::isnan(told_by("kill -9 $$")));
}

TEST(RankMemory, ADryRunGetsNoMoreThanIsFree) {
  struct sysinfo machine {};
  ASSERT_EQ(sysinfo(&machine), 0);
  const double kib = told_by("ulimit -d");  // taken for the MB that it tells
  EXPECT_GT(kib, 0);
  EXPECT_LE(kib, double(machine.totalram) * machine.mem_unit / 1024 + 12);
}

}  // namespace
}  // namespace diffq
