#include "results/report_tables.h"

#include <algorithm>
#include <map>
#include <set>

#include "results/claims.h"
#include "results/utf8.h"

namespace diffq {
namespace {

std::string metric_of(const Comparison& comparison) {
  return comparison.metric_name.empty() ? "metric" : comparison.metric_name;
}

std::string direction_of(const Comparison& comparison) {
  return comparison.higher_is_better ? "more is better" : "less is better";
}

std::string seeds_cell(const ComparisonRow& row) {
  const size_t all = row.done.size() + row.failed.size() + row.pending.size();
  std::string text = std::to_string(row.done.size());
  if (row.done.size() == all) return text;
  text += " of " + std::to_string(all) + " (";
  if (!row.failed.empty()) text += std::to_string(row.failed.size()) + " failed";
  if (!row.failed.empty() && !row.pending.empty()) text += ", ";
  if (!row.pending.empty()) text += std::to_string(row.pending.size()) + " pending";
  return text + ")";
}

/// "mean ± deviation"; says of how many runs, if not of all that are done.
std::string spread_cell(const ComparisonRow& row, const Spread& spread, int decimals, bool with_deviation) {
  std::string text = fixed(spread.mean, decimals);
  if (with_deviation && !std::isnan(spread.deviation)) text += " ± " + fixed(spread.deviation, decimals);
  if (spread.count > 0 && spread.count < row.done.size()) {
    text += " (" + std::to_string(spread.count) + " of " + std::to_string(row.done.size()) + ")";
  }
  return text;
}

bool varies(const Spread& spread) { return spread.deviation > 1e-9 * spread.mean; }

/// "value [low, high]", without the interval where there is none.
std::string estimate_cell(const Estimate& estimate, bool with_sign = false) {
  std::string text = fixed(estimate.value, 2, with_sign);
  if (!estimate.interval.is_known()) return text;
  return text + " [" + fixed(estimate.interval.low, 2, with_sign) + ", " +
         fixed(estimate.interval.high, 2, with_sign) + "]";
}

int size_decimals(const Comparison& comparison) {
  std::vector<double> sizes;
  for (const ComparisonRow& row : comparison.rows) sizes.push_back(row.size_mb.mean);
  return decimals_for(sizes);
}

std::string verdict_cell(Verdict verdict) {
  switch (verdict) {
    case Verdict::kBetter:
      return "DiffQ is better";
    case Verdict::kWorse:
      return "DiffQ is worse";
    case Verdict::kUndecided:
      return "undecided";
    case Verdict::kOneSeed:
      return "one seed, not judged";
    case Verdict::kOutOfReach:
      break;
  }
  return "beyond DiffQ's sizes";
}

bool has_one_seed(const std::vector<Comparison>& comparisons) {
  for (const Comparison& comparison : comparisons) {
    for (const ComparisonRow& row : comparison.rows) {
      if (row.metric.count == 1) return true;
    }
  }
  return false;
}

bool has_interval(const std::vector<Comparison>& comparisons) {
  for (const Comparison& comparison : comparisons) {
    for (const ComparisonRow& row : comparison.rows) {
      if (row.method != "fp32" && row.metric.count > 1) return true;
    }
  }
  return false;
}

struct Cost {
  std::vector<double> minutes, throughput, memory_mb;
};

std::string cost_cell(const std::vector<double>& values, int decimals) {
  const Spread spread = spread_of(values);
  std::string text = fixed(spread.mean, decimals);
  if (spread.count > 1) text += " ± " + fixed(spread.deviation, decimals);
  return spread.count > 0 && spread.count < values.size() ? text + " (" + std::to_string(spread.count) + ")"
                                                          : text;
}

std::string times_cell(const std::vector<double>& values, const std::vector<double>& fp32) {
  return fixed(spread_of(values).mean / spread_of(fp32).mean, 2);
}

}  // namespace

Table settings_table(const Comparison& comparison) {
  const int decimals = size_decimals(comparison);
  Table table{"All settings", "", 2, {}};
  table.lines.push_back(
      {"method", "λ | bits", "seeds", "size MB", "ratio", "mean bits", metric_of(comparison), "Δ fp32"});
  for (const ComparisonRow& row : comparison.rows) {
    // Sizes of fixed bits are the same for every seed; a ± 0 there, or the rounding of their mean, would
    // claim that something was measured.
    table.lines.push_back(
        {row.method, label(row), seeds_cell(row),
         spread_cell(row, row.size_mb, decimals, varies(row.size_mb)), spread_cell(row, row.ratio, 2, false),
         spread_cell(row, row.mean_bits, 2, varies(row.mean_bits)), spread_cell(row, row.metric, 2, true),
         row.method == "fp32" ? "–" : fixed(row.difference.mean, 2, true)});
  }
  return table;
}

Table compression_table(const Comparison& comparison, const Analysis& analysis) {
  Table table{
      "Largest compression within a loss",
      "Of the settings whose mean loss against fp32 of the same seeds is at most so many percent of fp32's " +
          metric_of(comparison) + " (" + fixed(analysis.fp32_metric, 2) + ").",
      3,
      {{"loss at most", "method", "λ | bits", "seeds", "times smaller", "Δ fp32"}}};
  for (const double percent : kLossPercents) {
    for (const Compression& compression : analysis.compressions) {
      if (compression.loss_percent != percent) continue;
      const std::string limit = fixed(percent, 1) + " %";
      if (!compression.row) {
        table.lines.push_back({limit, compression.method,
                               compression.judged ? "none keeps within it" : "not known yet", "", "", ""});
        continue;
      }
      const ComparisonRow& row = comparison.rows[*compression.row];
      table.lines.push_back({limit, compression.method, label(row), seeds_cell(row),
                             estimate_cell(compression.ratio), fixed(compression.difference.value, 2, true)});
    }
  }
  return table;
}

Table equal_size_table(const Comparison& comparison, const Analysis& analysis) {
  Table table{"DiffQ at the size of each baseline",
              "DiffQ's " + metric_of(comparison) + " (" + direction_of(comparison) +
                  ") between two of its λ, on a straight line over log size, and never beyond its sizes. The "
                  "difference is DiffQ's minus the baseline's.",
              3,
              {{"baseline", "bits", "DiffQ's setting", "size MB", "seeds of both", "baseline's", "DiffQ's",
                "difference", "verdict"}}};
  const int decimals = size_decimals(comparison);
  for (const EqualSize& equal : analysis.equal_sizes) {
    const ComparisonRow& row = comparison.rows[equal.row];
    const bool in_reach = equal.verdict != Verdict::kOutOfReach;
    table.lines.push_back(
        {row.method, label(row), equal.setting.empty() ? "–" : equal.setting,
         fixed(row.size_mb.mean, decimals),
         std::to_string(row.metric.count) + " · " + (in_reach ? std::to_string(equal.diffq_seeds) : "–"),
         fixed(row.metric.mean, 2), fixed(equal.diffq_metric, 2), estimate_cell(equal.difference, true),
         verdict_cell(equal.verdict)});
  }
  return table;
}

Table hypervolume_table(const Comparison& comparison, const Analysis& analysis) {
  Table table{"Hypervolume", "", 1, {{"method", "settings on its front", "hypervolume"}}};
  if (!analysis.reference) return table;
  table.note = "The area between a method's Pareto front and a reference: fp32's size, and its " +
               metric_of(comparison) + " made worse by " + fixed(kReferenceLossPercent, 0) + " % (" +
               fixed(std::abs(analysis.reference->quality), 2) + "). Unit: " + metric_of(comparison) +
               " times doublings of compression; more is better.";
  for (const MethodFront& front : analysis.fronts) {
    const bool one_seed = !front.rows.empty() && !front.hypervolume.interval.is_known();
    table.lines.push_back({front.method, std::to_string(front.rows.size()),
                           estimate_cell(front.hypervolume) + (one_seed ? " (one seed)" : "")});
  }
  return table;
}

Table cost_table(const Comparison& comparison) {
  std::vector<std::string> methods;
  std::map<std::string, Cost> costs;
  for (const ComparisonRow& row : comparison.rows) {
    if (row.done.empty()) continue;
    if (costs.count(row.method) == 0) methods.push_back(row.method);
    Cost& cost = costs[row.method];
    for (const RunRow& run : row.done) {
      cost.minutes.push_back(run.train_seconds / 60);
      cost.throughput.push_back(run.samples_per_second);
      cost.memory_mb.push_back(run.peak_memory_mb);
    }
  }
  Table table{"Time and memory of a run",
              "Mean ± standard deviation over the runs that are done; memory is the most that a rank's "
              "process held. A number in "
              "brackets: of so many runs.",
              1,
              {{"method", "runs", "minutes", "of fp32's", "samples / s", "of fp32's", "peak memory MB",
                "of fp32's"}}};
  const Cost fp32 = costs["fp32"];
  for (const std::string& method : methods) {
    const Cost& cost = costs[method];
    table.lines.push_back({method, std::to_string(cost.minutes.size()), cost_cell(cost.minutes, 2),
                           times_cell(cost.minutes, fp32.minutes), cost_cell(cost.throughput, 0),
                           times_cell(cost.throughput, fp32.throughput), cost_cell(cost.memory_mb, 0),
                           times_cell(cost.memory_mb, fp32.memory_mb)});
  }
  return table;
}

Table claims_table(const Comparison& comparison) {
  Table table{"The paper's claims",
              "arXiv:2104.09987, next to DiffQ's best in this sweep.",
              3,
              {{"claim", "measured here", "comparable"}}};
  for (const ClaimCheck& check : check_claims(comparison))
    table.lines.push_back({check.claim, check.measured, check.comparable});
  return table;
}

std::vector<Table> detail_tables(const Comparison& comparison, const Analysis& analysis) {
  std::vector<Table> tables{equal_size_table(comparison, analysis), compression_table(comparison, analysis),
                            hypervolume_table(comparison, analysis), cost_table(comparison),
                            claims_table(comparison)};
  std::erase_if(tables, [](const Table& table) { return table.empty(); });
  return tables;
}

Table environment_table(const std::vector<EnvironmentRow>& environment) {
  std::map<Line, size_t> ranks;
  for (const EnvironmentRow& row : environment) {
    ++ranks[{row.host, row.device, row.program, row.torch, row.mpi, row.nccl, row.hdf5,
             row.threads > 0 ? std::to_string(row.threads) : ""}];
  }
  Table table{"Hosts",
              "",
              7,
              {{"host", "device", "diffq", "torch", "MPI", "NCCL", "HDF5", "threads a rank", "ranks"}}};
  for (const auto& [cells, count] : ranks) {
    table.lines.push_back(cells);
    table.lines.back().push_back(std::to_string(count));
  }
  return table;
}

std::string title_of(const Comparison& comparison) {
  return one_line(comparison.benchmark + " · " + comparison.dataset + " · " + comparison.model);
}

std::vector<std::string> failures_of(const Comparison& comparison) {
  std::vector<std::string> lines;
  for (const ComparisonRow& row : comparison.rows) {
    for (const RunRow& run : row.failed) {
      const std::string setting = label(row) == "–" ? "" : ", " + label(row);
      lines.push_back(one_line(run.run_id + " (" + row.method + setting + ", seed " +
                               std::to_string(run.seed) +
                               "): " + (run.reason.empty() ? "no reason recorded" : run.reason)));
    }
  }
  return lines;
}

std::vector<std::string> notes_on(const std::vector<Comparison>& comparisons) {
  std::vector<std::string> notes{
      "Sizes in MB = 2^20 bytes. ± is the sample standard deviation over seeds. Δ fp32 is the mean over "
      "seeds "
      "of the metric minus that of the fp32 run of the same seed."};
  if (has_one_seed(comparisons))
    notes.push_back("One seed gives no spread: a metric without ± rests on a single run.");
  if (has_interval(comparisons)) {
    notes.push_back(
        "[a, b] is a 95 % interval: the runs of each setting drawn anew, each setting by itself, " +
        std::to_string(kResamples) +
        " times. With few seeds it is too narrow: if metrics spread normally, it holds the true mean in "
        "half of all cases with two seeds, in three quarters with three. One seed gives none.");
  }
  return notes;
}

std::string version_warning(const std::vector<RunRow>& runs) {
  std::set<std::string> versions;
  for (const RunRow& run : runs) {
    if (run.status != "done" || run.program_version.empty()) continue;
    versions.insert(run.program_version + (run.git_commit.empty() ? "" : " (" + run.git_commit + ")"));
  }
  if (versions.size() < 2) return "";
  std::string text = "Warning: the runs come from different versions of the program: ";
  for (const std::string& version : versions) text += (version == *versions.begin() ? "" : ", ") + version;
  return text + ".";
}

std::string totals_of(const std::vector<RunRow>& runs) {
  size_t done = 0, failed = 0;
  double seconds = 0;
  for (const RunRow& run : runs) {
    done += run.status == "done";
    failed += run.status == "failed";
    if (!std::isnan(run.train_seconds)) seconds += run.train_seconds;
  }
  return std::to_string(runs.size()) + (runs.size() == 1 ? " run: " : " runs: ") + std::to_string(done) +
         " done, " + std::to_string(failed) + " failed, " + std::to_string(runs.size() - done - failed) +
         " pending. " + fixed(seconds / 60, 1) + " minutes of training.";
}

std::string one_line(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7F') c = ' ';
  }
  return valid_utf8(text);
}

}  // namespace diffq
