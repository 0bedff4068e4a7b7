#include "results/join.h"

#include <gtest/gtest.h>

#include <map>

namespace diffq {
namespace {

RunRow run_of(const std::string& id, const std::string& status) {
  RunRow run;
  run.run_id = id;
  run.status = status;
  return run;
}

/// One epoch and one layer of each run, which tell the file they are from.
ResultFile file_of(const std::string& sweep, int number, const std::vector<RunRow>& runs) {
  ResultFile file;
  file.sweep = sweep;
  file.runs = runs;
  for (RunRow& run : file.runs) {
    run.steps = number;
    EpochRow epoch;
    epoch.run_id = run.run_id;
    epoch.train_loss = number;
    file.epochs.push_back(epoch);
    LayerRow layer;
    layer.run_id = run.run_id;
    layer.mean_bits = number;
    file.layers.push_back(layer);
  }
  file.environment = {{"node" + std::to_string(number), 0, "cpu", "", "", "", "", ""}};
  file.sweeps = {{sweep, "0.1.0", "abc", "{\"sweep\": \"" + sweep + "\"}"}};
  return file;
}

TEST(Join, EachRunIsOfTheFileThatKnowsMostOfIt) {
  const ResultFile all =
      joined({file_of("a", 1, {run_of("x", "pending"), run_of("y", "failed"), run_of("z", "done")}),
              file_of("a", 2, {run_of("x", "done"), run_of("y", "pending"), run_of("z", "done")}),
              file_of("a", 3, {run_of("x", "failed"), run_of("y", "done"), run_of("w", "pending")})});
  std::map<std::string, int64_t> files;
  for (const RunRow& run : all.runs) files[run.run_id] = run.steps;
  EXPECT_EQ(files, (std::map<std::string, int64_t>{{"x", 2}, {"y", 3}, {"z", 1}, {"w", 3}}));
  ASSERT_EQ(all.runs.size(), 4u);
  ASSERT_EQ(all.epochs.size(), 4u);
  ASSERT_EQ(all.layers.size(), 4u);
  for (const EpochRow& epoch : all.epochs) EXPECT_EQ(epoch.train_loss, files.at(epoch.run_id));
  for (const LayerRow& layer : all.layers) EXPECT_EQ(layer.mean_bits, files.at(layer.run_id));
  EXPECT_EQ(all.environment.size(), 3u);
}

TEST(Join, TheFp32RunOfAShardIsThatOfTheOthersToo) {
  const auto of = [](const std::string& id, const std::string& method, int seed, double metric) {
    RunRow run = run_of(id, "done");
    run.method = method;
    run.metric = metric;
    run.config_json = "{\"data\": 1, \"method\": \"" + method + "\", \"seed\": " + std::to_string(seed) + "}";
    return run;
  };
  RunRow without_specification = run_of("n", "done");
  ResultFile first = file_of("a", 1, {of("f1", "fp32", 1, 90), of("f2", "fp32", 2, 91), run_of("m", "done")});
  first.runs[2].method = "fp32";
  first.runs[2].metric = 7;
  const ResultFile all = joined(
      {first, file_of("a", 2, {of("q2", "qat", 2, 80), of("q3", "qat", 3, 80), without_specification})});
  std::map<std::string, double> metrics;
  for (const RunRow& run : all.runs) metrics[run.run_id] = run.metric_fp32;
  EXPECT_EQ(metrics["q2"], 91);
  EXPECT_TRUE(std::isnan(metrics["q3"]));
  EXPECT_TRUE(std::isnan(metrics["n"]));
}

TEST(Join, SweepsAreNamedOnce) {
  const ResultFile all = joined({file_of("a", 1, {}), file_of("a", 2, {}), file_of("b", 3, {})});
  EXPECT_EQ(all.sweep, "a, b");
  ASSERT_EQ(all.sweeps.size(), 2u);
  EXPECT_EQ(all.sweeps[1].sweep, "b");
}

}  // namespace
}  // namespace diffq
