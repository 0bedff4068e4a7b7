#include "launcher/rank_memory.h"

#include <sys/stat.h>
#include <sys/sysinfo.h>

#include <cmath>
#include <vector>

#include "tests/launcher/sweeps.h"
#include "tests/support/idx_files.h"
#include "tests/sweeps/sweep_text.h"

namespace diffq {
namespace {

/// What a plan would tell of every run of a sweep, trained with so many samples a batch, if `script` were the
/// program.
std::vector<double> all_told_by(const std::string& script, int batch = 8,
                                const std::string& methods = R"({"method": "fp32"})") {
  const TemporaryFolder folder;
  const std::string program = (folder.path() / "program").string();
  write_text(program, "#!/bin/bash\n" + script + "\n");
  chmod(program.c_str(), 0755);
  const Sweep sweep = read_text(R"({"sweep": "s", "seeds": [1, 2], "benchmarks": [{
      "data": {"name": "idx", "root": "x", "valid_samples": 32}, "model": {"name": "small_cnn"},
      "train": {"batch_size": )" +
                                std::to_string(batch) + R"(}, "methods": [)" + methods + "]}]}");
  RankMemory memory(program);
  std::vector<double> told;
  for (const Run& run : sweep.runs) told.push_back(memory.mb(run, 1));
  return told;
}

double told_by(const std::string& script, int batch = 8) { return all_told_by(script, batch).front(); }

TEST(RankMemory, IsWhatTheDryRunTellsAndMpi) { EXPECT_EQ(told_by("echo 700"), 712); }

/// As dry_run takes them: at least 2 samples, of 1 MB each, or of 4096 MB, and then they take seconds.
TEST(RankMemory, FollowsALineToTheWholeBatch) {
  const std::string program = R"(
    share=$(grep -o '"share":[0-9.e-]*' <<< "$2" | cut -d: -f2)
    samples=$(awk "BEGIN { n = int($share * BATCH + 0.5); print n < 2 ? 2 : n }")
    if [ EACH = 4096 ]; then (ulimit -t 5; while :; do :; done) 2> /dev/null; fi
    echo $((700 + EACH * samples)))";
  const auto told = [&](int batch, const std::string& each) {
    std::string script = program;
    for (const auto& [word, value] :
         {std::pair{std::string("BATCH"), std::to_string(batch)}, {"EACH", each}}) {
      for (size_t at; (at = script.find(word)) != std::string::npos;) script.replace(at, word.size(), value);
    }
    return told_by(script, batch);
  };
  EXPECT_NEAR(told(256, "1"), 700 + 256 + 12, 0.01);
  EXPECT_NEAR(told(64, "4096"), 700 + 64 * 4096 + 12, 0.01);
  EXPECT_NEAR(told(1, "1"), 700 + 2 + 12, 0.01);
}

/// The third dry run is the first that tells 1300: two of the first method (2 samples, then 8), one of the
/// second, whose own rate asks for no more, and none of the other seeds.
TEST(RankMemory, TriesOnceWhatRunsHaveInCommon) {
  const std::string counting = R"(echo >> "$0.tries"; echo $((1000 + 100 * $(wc -l < "$0.tries"))))";
  const auto told = all_told_by(
      counting, 8,
      R"({"method": "fp32"}, {"method": "lsq", "bits": 3, "train": {"optimizer": {"lr": 0.01}}})");
  EXPECT_EQ(told, (std::vector<double>{1212, 1312, 1212, 1312}));
}

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
