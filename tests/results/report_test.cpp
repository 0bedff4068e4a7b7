#include "results/report.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "results/comparison.h"

namespace diffq {
namespace {

/// One run of the comparison; what a test changes is set afterwards.
RunRow run_of(const std::string& method, double setting, int64_t seed, double metric, double metric_fp32,
              double size_mb) {
  static int count = 0;
  RunRow run;
  run.run_id = "run" + std::to_string(100 + count++ % 100);
  run.benchmark = "image";
  run.dataset = "mnist";
  run.model = "small_cnn";
  run.method = method;
  if (method == "diffq") {
    run.lambda = setting;
    run.group_size = 8;
  } else {
    run.bits = setting;
  }
  run.seed = seed;
  run.status = "done";
  run.metric_name = "accuracy %";
  run.metric = metric;
  run.metric_fp32 = metric_fp32;
  run.size_mb = size_mb;
  run.size_fp32_mb = 1.6;
  run.ratio = 1.6 / size_mb;
  run.mean_bits = method == "fp32" ? kNotApplicable : 20 * size_mb;
  run.train_seconds = 30;
  run.program_version = "0.1.0";
  run.config_json = R"({"seed": )" + std::to_string(seed) + R"(, "method": {"noise": "gaussian"}})";
  return run;
}

RunRow failed(RunRow run, const std::string& reason) {
  run.status = "failed";
  run.reason = reason;
  run.metric = run.size_mb = run.ratio = run.mean_bits = run.train_seconds = kNotApplicable;
  return run;
}

RunRow pending(RunRow run) {
  run = failed(run, "");
  run.status = "pending";
  return run;
}

/// Numbered by their place, whatever else the test program has made.
std::vector<RunRow> numbered(std::vector<RunRow> runs) {
  for (size_t i = 0; i < runs.size(); ++i) runs[i].run_id = "run" + std::to_string(100 + i);
  return runs;
}

RunRow elsewhere(RunRow run, const std::string& benchmark, const std::string& metric_name,
                 bool higher_is_better) {
  run.benchmark = benchmark;
  run.dataset = benchmark + "_data";
  run.model = "net|" + benchmark;
  run.metric_name = metric_name;
  run.higher_is_better = higher_is_better;
  return run;
}

/// In no order, with failed, pending, one-seed and lower-is-better cases. By hand (s: standard deviation,
/// √(d²/2) for two values that differ by d; 0.2/√2 = 0.14, 0.1/√2 = 0.07, 0.02/√2 = 0.014):
///   fp32        99.0  99.2   mean 99.10 s 0.14
///   qat 2       97.0  failed
///   qat 4       98.8  98.6   mean 98.70 s 0.14   Δ (−0.2 − 0.6)/2 = −0.40
///   lsq 4       99.3                              Δ +0.30, smaller (0.2) and better than DiffQ at λ 0.1
///   by 99.3 − 99.05 diffq 0.1   99.1  99.0   mean 99.05 s 0.07   Δ (+0.1 − 0.2)/2 = −0.05   size (0.25 +
///   0.27)/2 s 0.014 diffq 5     98.0  97.8   mean 97.90 s 0.14   Δ (−1.0 − 1.4)/2 = −1.20   pending third
///   seed
ResultFile sample() {
  ResultFile results;
  results.sweep = "demo_1 *λ*";
  results.program_version = "0.1.0";
  results.git_commit = "abc123";
  const auto language = [](RunRow run) { return elsewhere(run, "language", "perplexity", false); };
  const auto audio = [](RunRow run) { return elsewhere(run, "audio", "SDR dB", true); };
  results.runs = numbered({
      run_of("diffq", 5, 1, 98.0, 99.0, 0.11),
      run_of("diffq", 5, 2, 97.8, 99.2, 0.13),
      pending(run_of("diffq", 5, 3, 0, 0, 1)),
      run_of("diffq", 0.1, 1, 99.1, 99.0, 0.25),
      run_of("diffq", 0.1, 2, 99.0, 99.2, 0.27),
      run_of("lsq", 4, 1, 99.3, 99.0, 0.2),
      run_of("qat", 4, 1, 98.8, 99.0, 0.2),
      run_of("qat", 4, 2, 98.6, 99.2, 0.2),
      run_of("qat", 2, 1, 97.0, 99.0, 0.1),
      failed(run_of("qat", 2, 2, 0, 99.2, 1), "step 7: loss is NaN, \"x\" |\nstop"),
      run_of("fp32", kNotApplicable, 1, 99.0, 99.0, 1.6),
      run_of("fp32", kNotApplicable, 2, 99.2, 99.2, 1.6),
      language(run_of("fp32", kNotApplicable, 1, 100, 100, 1.6)),
      language(run_of("fp32", kNotApplicable, 2, 102, 102, 1.6)),
      language(run_of("diffq", 1, 1, 101, 100, 0.4)),
      language(run_of("diffq", 1, 2, 102, 102, 0.4)),
      audio(run_of("diffq", 1, 1, 5.5, 5.0, 0.4)),
      audio(run_of("fp32", kNotApplicable, 1, 5.0, 5.0, 1.6)),
  });
  results.runs.back().program_version = "0.2.0";
  results.runs.back().git_commit = "fff";
  results.runs[0].samples_per_second = 1234.5;
  results.environment = {{"node1", 0, "cpu", "0.1.0", "2.11.0", "4.1.4", "", "1.10.8", 4},
                         {"node1", 1, "cpu", "0.1.0", "2.11.0", "4.1.4", "", "1.10.8", 4}};
  return results;
}

/// Compares with a file of tests/fixtures/results; DIFFQ_UPDATE_GOLDEN=1 writes it, to be read before it is
/// committed.
void expect_golden(const std::string& name, const std::string& actual) {
  const std::string path = std::string(DIFFQ_SOURCE_DIR) + "/tests/fixtures/results/" + name;
  if (std::getenv("DIFFQ_UPDATE_GOLDEN") != nullptr) std::ofstream(path, std::ios::binary) << actual;
  std::ostringstream expected;
  expected << std::ifstream(path, std::ios::binary).rdbuf();
  EXPECT_EQ(actual, expected.str()) << path;
}

TEST(Report, Markdown) { expect_golden("report.md", markdown_report(sample())); }
TEST(Report, Terminal) { expect_golden("comparison.txt", comparison_table(sample())); }
TEST(Report, Csv) { expect_golden("results.csv", csv_report(sample())); }

TEST(Report, NothingRun) {
  EXPECT_EQ(comparison_table(ResultFile{}), "No runs.\n");
  EXPECT_NE(markdown_report(ResultFile{}).find("0 runs: 0 done, 0 failed, 0 pending."), std::string::npos);
  const std::string csv = csv_report(ResultFile{});
  EXPECT_EQ(csv.find("run_id,benchmark,"), 0u);
  EXPECT_EQ(csv.find("\r\n"), csv.size() - 2);
}

TEST(Report, OnlyPendingOrFailedRunsStillShow) {
  ResultFile results;
  results.runs = numbered(
      {pending(run_of("fp32", kNotApplicable, 1, 0, 0, 1)), failed(run_of("diffq", 1, 1, 0, 0, 1), "")});
  const std::string text = comparison_table(results);
  EXPECT_NE(text.find("0 of 1 (1 pending)"), std::string::npos) << text;
  EXPECT_NE(text.find("0 of 1 (1 failed)"), std::string::npos) << text;
  EXPECT_NE(text.find("Failed: run101 (diffq, λ 1, seed 1): no reason recorded"), std::string::npos) << text;
}

TEST(Comparison, SpreadIsTheSampleStandardDeviation) {
  const Spread spread = spread_of({2, 4, kNotApplicable, 4, 4, 5, 5, 7, 9});
  EXPECT_EQ(spread.count, 8u);
  EXPECT_DOUBLE_EQ(spread.mean, 5);
  EXPECT_DOUBLE_EQ(spread.deviation, std::sqrt(32.0 / 7));
  EXPECT_TRUE(std::isnan(spread_of({3}).deviation));
  EXPECT_EQ(spread_of({3}).mean, 3);
  EXPECT_TRUE(std::isnan(spread_of({}).mean));
}

TEST(Comparison, NumbersWithFixedDecimals) {
  EXPECT_EQ(fixed(1.005, 1), "1.0");
  EXPECT_EQ(fixed(-0.001, 2, true), "+0.00");
  EXPECT_EQ(fixed(-0.001, 2), "0.00");
  EXPECT_EQ(fixed(-0.016, 2, true), "-0.02");
  EXPECT_EQ(fixed(kNotApplicable, 2), "–");
  EXPECT_EQ(fixed(HUGE_VAL, 2), "inf");
  EXPECT_EQ(fixed(-HUGE_VAL, 2, true), "-inf");
  EXPECT_EQ(decimals_for({1.6, 0.12}), 3);
  EXPECT_EQ(decimals_for({44.7}), 1);
  EXPECT_EQ(decimals_for({}), 2);
}

TEST(Comparison, AShardsCopyOfARunCountsOnce) {
  std::vector<RunRow> runs = numbered(
      {run_of("fp32", kNotApplicable, 1, 99, 99, 1.6), run_of("fp32", kNotApplicable, 1, 99, 99, 1.6)});
  runs[0] = pending(runs[0]);
  runs[1].run_id = runs[0].run_id;
  const auto compared = compare(runs);
  ASSERT_EQ(compared.size(), 1u);
  ASSERT_EQ(compared[0].rows.size(), 1u);
  EXPECT_EQ(compared[0].rows[0].done.size(), 1u);
  EXPECT_TRUE(compared[0].rows[0].pending.empty());
}

TEST(Comparison, RunsOfDifferentSettingsAreNotAveraged) {
  std::vector<RunRow> runs =
      numbered({run_of("diffq", 1, 1, 99, 99, 0.4), run_of("diffq", 1, 2, 99, 99, 0.4),
                run_of("diffq", 1, 1, 98, 99, 0.4), run_of("diffq", 1, 1, 97, 99, 0.4)});
  runs[2].config_json = R"({"seed": 1, "method": {"noise": "uniform"}})";
  runs[3].group_size = 16;
  const auto rows = compare(runs)[0].rows;
  ASSERT_EQ(rows.size(), 3u);
  std::map<std::string, double> metrics;
  for (const ComparisonRow& row : rows) metrics[label(row)] = row.metric.mean;
  EXPECT_EQ(metrics, (std::map<std::string, double>{{"λ 1, group_size=8, noise=gaussian", 99},
                                                    {"λ 1, group_size=8, noise=uniform", 98},
                                                    {"λ 1, group_size=16, noise=gaussian", 97}}));
}

TEST(Comparison, ATargetIsNamedEvenWhereThereIsOneAlone) {
  RunRow run = run_of("diffq", kNotApplicable, 1, 99, 99, 0.05);
  run.config_json = R"({"seed": 1, "method": {"target_mb": 0.05}})";
  EXPECT_EQ(label(compare({run})[0].rows[0]), "target_mb=0.05");
}

std::vector<std::string> findings_of(const std::vector<RunRow>& runs) {
  const Comparison comparison = compare(runs)[0];
  return findings(comparison, analyse(comparison));
}

std::string first_finding(const std::vector<RunRow>& runs) {
  const auto found = findings_of(numbered(runs));
  return found.empty() ? "none" : found[0];
}

TEST(Comparison, SeedsThatStartFromTheirOwnFp32RunAreAveraged) {
  ResultFile file;
  for (const int64_t seed : {1, 2}) {
    file.runs.push_back(run_of("lsq", 4, seed, 98.0 + static_cast<double>(seed), 99, 0.1));
    nlohmann::json config = nlohmann::json::parse(file.runs.back().config_json);
    config["start"] = "0123456789a" + std::to_string(seed);
    file.runs.back().config_json = config.dump();
  }
  const std::string table = comparison_table(file);
  EXPECT_NE(table.find("99.50 ± 0.71"), std::string::npos) << table;
  EXPECT_EQ(table.find("start"), std::string::npos) << table;
}

TEST(Findings, EqualWithinTheSpreadOrWorseByMore) {
  // fp32 over these seeds: 99, 99.4, so s = 0.283; DiffQ is below by 0.28 on average, then by 0.29.
  EXPECT_EQ(first_finding({run_of("diffq", 2, 1, 98.72, 99, 0.4), run_of("diffq", 2, 2, 99.12, 99.4, 0.4)}),
            "At DiffQ's smallest size (0.400 MB, λ 2) accuracy % is equal to fp32 within the seeds' spread: "
            "a difference of "
            "-0.28, a spread of 0.28 (2 seeds).");
  EXPECT_EQ(first_finding({run_of("diffq", 2, 1, 98.71, 99, 0.4), run_of("diffq", 2, 2, 99.11, 99.4, 0.4)}),
            "At DiffQ's smallest size (0.400 MB, λ 2) accuracy % is worse than fp32 by 0.29, more than the "
            "seeds' spread of "
            "0.28 (2 seeds).");
}

TEST(Findings, BetterOneSeedAndNoFp32) {
  EXPECT_EQ(first_finding({run_of("diffq", 2, 1, 99.9, 99, 0.4), run_of("diffq", 2, 2, 99.9, 99, 0.4)}),
            "At DiffQ's smallest size (0.400 MB, λ 2) accuracy % is better than fp32 by 0.90, more than the "
            "seeds' spread of "
            "0.00 (2 seeds).");
  EXPECT_EQ(first_finding({run_of("diffq", 2, 1, 98, 99, 0.4)}),
            "At DiffQ's smallest size (0.400 MB, λ 2) accuracy % is worse than fp32 by 1.00 with one seed: "
            "there is no spread "
            "to judge it by.");
  EXPECT_EQ(first_finding({run_of("diffq", 2, 1, 98, kNotApplicable, 0.4)}),
            "DiffQ's smallest size (0.400 MB, λ 2) can't be judged: there is no fp32 run of the same seeds.");
  EXPECT_EQ(first_finding({run_of("fp32", kNotApplicable, 1, 98, 98, 0.4)}), "none");
}

TEST(Findings, AnInfiniteMetricIsNeverCalledEqual) {
  const auto language = [](RunRow run) { return elsewhere(run, "language", "perplexity", false); };
  const std::string text = first_finding(
      {language(run_of("diffq", 2, 1, HUGE_VAL, 100, 0.4)), language(run_of("diffq", 2, 2, 111, 101, 0.4))});
  EXPECT_NE(text.find("worse than fp32 by inf with 2 seeds: there is no spread to judge it by."),
            std::string::npos)
      << text;
}

TEST(Findings, LowerIsBetterTurnsTheJudgement) {
  const auto language = [](RunRow run) { return elsewhere(run, "language", "perplexity", false); };
  const std::string text = first_finding(
      {language(run_of("diffq", 2, 1, 110, 100, 0.4)), language(run_of("diffq", 2, 2, 111, 101, 0.4))});
  EXPECT_NE(text.find("perplexity is worse than fp32 by 10.00, more than"), std::string::npos) << text;
}

TEST(Findings, ABaselineThatBeatsDiffqIsSaid) {
  const auto runs = [](double qat_metric, double qat_size) {
    return numbered({run_of("diffq", 2, 1, 98, 99, 0.4), run_of("diffq", 2, 2, 98.2, 99, 0.4),
                     run_of("diffq", 1, 1, 98.5, 99, 0.8), run_of("diffq", 1, 2, 98.5, 99, 0.8),
                     run_of("qat", 4, 1, qat_metric, 99, qat_size),
                     run_of("qat", 4, 2, qat_metric, 99, qat_size)});
  };
  const auto said = [&](double metric, double size) {
    std::vector<std::string> sentences = findings_of(runs(metric, size));
    std::erase_if(sentences,
                  [](const std::string& text) { return text.find(" beats ") == std::string::npos; });
    return sentences;
  };
  ASSERT_EQ(said(98.3, 0.4).size(), 1u);
  EXPECT_EQ(said(98.3, 0.4)[0],
            "qat at 4 bits beats DiffQ at λ 2: 0.400 MB against 0.400 MB, and accuracy % better by 0.20, "
            "more than the seeds' "
            "spread of 0.14.");
  EXPECT_NE(said(98.15, 0.3)[0].find("better by 0.05, within the seeds' spread of 0.14."), std::string::npos);
  EXPECT_TRUE(said(98.1, 0.3).empty()) << "equal is not better";
  EXPECT_TRUE(said(98.3, 0.5).empty()) << "larger than the one, worse than the other";
}

TEST(Findings, ABaselineThatWasTrainedForLongerIsSaid) {
  std::vector<RunRow> runs =
      numbered({run_of("diffq", 2, 1, 98, 99, 0.4), run_of("lsq", 4, 1, 98.5, 99, 0.3)});
  const auto start = [&](size_t i) { runs[i].config_json = R"({"seed": 1, "start": "0123456789ab"})"; };
  const auto said = [&] { return findings_of(runs)[1]; };
  EXPECT_TRUE(said().ends_with("no spread to judge it by).")) << said();
  start(1);
  EXPECT_TRUE(said().ends_with(" Its runs start from trained weights, DiffQ's do not.")) << said();
  start(0);
  EXPECT_TRUE(said().ends_with("no spread to judge it by).")) << said();
}

TEST(Findings, WhatHasNotRunIsNotCalledImpossible) {
  const auto said = [](const RunRow& diffq) {
    return findings_of({run_of("qat", 4, 1, 50, 99, 0.2), diffq}).front();
  };
  EXPECT_EQ(said(pending(run_of("diffq", 2, 1, 98, 99, 0.4))),
            "Smaller than fp32 at a loss of at most 1 % of its accuracy %: qat none; diffq not known yet.");
  EXPECT_NE(said(run_of("diffq", 2, 1, 50, 99, 0.4)).find("worse than fp32"), std::string::npos);
}

TEST(Findings, OfEachMethodTheRowThatBeatsDiffqByTheMost) {
  std::vector<std::string> said =
      findings_of(numbered({run_of("diffq", 2, 1, 98, 99, 0.4), run_of("qat", 3, 1, 98.1, 99, 0.3),
                            run_of("qat", 4, 1, 98.5, 99, 0.4), run_of("qat", 2, 1, 98.2, 99, 0.2),
                            run_of("lsq", 2, 1, 98.4, 99, 0.2)}));
  std::erase_if(said, [](const std::string& text) { return text.find(" beats ") == std::string::npos; });
  ASSERT_EQ(said.size(), 2u);
  EXPECT_EQ(said[0].find("qat at 4 bits beats"), 0u) << said[0];
  EXPECT_EQ(said[1].find("lsq at 2 bits beats"), 0u) << said[1];
}

/// DiffQ at 0.1 and 0.4 MB, two seeds each, and a baseline in the middle of them over log size, at 0.2 MB:
/// DiffQ's metric there is 98 from 97.9 and 98.1.
std::vector<std::string> equal_size_findings(const std::vector<double>& lsq_metrics,
                                             bool higher_is_better = true) {
  std::vector<RunRow> runs{run_of("diffq", 5, 1, 97.4, 99, 0.1), run_of("diffq", 5, 2, 97.6, 99, 0.1),
                           run_of("diffq", 1, 1, 98.4, 99, 0.4), run_of("diffq", 1, 2, 98.6, 99, 0.4)};
  for (size_t i = 0; i < lsq_metrics.size(); ++i)
    runs.push_back(run_of("lsq", 4, static_cast<int64_t>(i) + 1, lsq_metrics[i], 99, 0.2));
  runs.push_back(run_of("qat", 8, 1, 99, 99, 0.8));
  for (RunRow& run : runs) run.higher_is_better = higher_is_better;
  std::vector<std::string> said = findings_of(numbered(runs));
  std::erase_if(said, [](const std::string& text) { return text.find("At equal size") != 0; });
  return said;
}

TEST(Findings, WhoWinsAtEqualSize) {
  const auto said = equal_size_findings({97.5, 97.5});
  ASSERT_EQ(said.size(), 2u);
  EXPECT_EQ(said[0], "At equal size DiffQ against qat: 1 beyond DiffQ's sizes.");
  EXPECT_EQ(said[1],
            "At equal size DiffQ against lsq: better at 1, worse at 0, undecided at 0 of 1 sizes; the "
            "difference in accuracy % is +0.50.");
  EXPECT_NE(equal_size_findings({97.5, 97.5}, false)[1].find("better at 0, worse at 1, undecided at 0"),
            std::string::npos);
  EXPECT_NE(equal_size_findings({97.5, 98.5})[1].find("better at 0, worse at 0, undecided at 1"),
            std::string::npos);
  EXPECT_EQ(
      equal_size_findings({97.5})[1],
      "At equal size DiffQ against lsq: not judged at 1 (one seed); the difference in accuracy % is +0.50.");
}

TEST(Comparison, SettingsThatDifferBesideLambdaAreFamiliesOfTheirOwn) {
  std::vector<RunRow> runs = numbered({run_of("diffq", 1, 1, 97, 99, 0.1), run_of("diffq", 2, 1, 99, 99, 0.4),
                                       run_of("diffq", 1, 1, 95, 99, 0.1), run_of("diffq", 2, 1, 97, 99, 0.4),
                                       run_of("qat", 4, 1, 98, 99, 0.2)});
  for (const size_t i : {2, 3}) runs[i].config_json = R"({"seed": 1, "method": {"noise": "uniform"}})";
  const Analysis analysis = analyse(compare(runs)[0]);
  ASSERT_EQ(analysis.equal_sizes.size(), 2u);
  EXPECT_EQ(analysis.equal_sizes[0].setting, "noise=gaussian");
  EXPECT_NEAR(analysis.equal_sizes[0].diffq_metric, 98, 1e-9);
  EXPECT_EQ(analysis.equal_sizes[1].setting, "noise=uniform");
  EXPECT_NEAR(analysis.equal_sizes[1].diffq_metric, 96, 1e-9);
}

}  // namespace
}  // namespace diffq
