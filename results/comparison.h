#pragma once
// The comparison of methods as numbers and sentences, before it is printed: runs of one benchmark, data set
// and model gathered over their seeds. Pure functions of the rows of /runs.

#include <string>
#include <vector>

#include "results/records.h"

namespace diffq {

/// Mean and sample standard deviation (n − 1) of the values that are numbers.
struct Spread {
  size_t count = 0;
  double mean = kNotApplicable;
  double deviation = kNotApplicable;  ///< from two values on
};
Spread spread_of(const std::vector<double>& values);

/// Runs that differ in their seed alone.
struct ComparisonRow {
  std::string method;
  double lambda = kNotApplicable, bits = kNotApplicable;
  std::string setting;  ///< what else tells rows of the same method from each other: "group_size=16", or ""
  bool starts_trained = false;  ///< from another run's weights, or a file's
  std::vector<RunRow> done, failed, pending;
  Spread metric, size_mb, ratio, mean_bits;  ///< over the runs that are done
  Spread difference;                         ///< metric − metric_fp32 of the same seed
};

struct Comparison {
  std::string benchmark, dataset, model;
  std::string metric_name;
  bool higher_is_better = true;
  std::vector<ComparisonRow> rows;  ///< fp32, ptq, qat, lsq, diffq; then by bits or λ
};

/// How much a row knows of its run: done, failed, pending, by falling number.
int knowledge_of(const RunRow& run);

/// A run that several files report (shards train the same fp32 run) counts once, a finished one before
/// others.
std::vector<RunRow> unique_runs(const std::vector<RunRow>& runs);

/// In the order in which the benchmarks first appear.
std::vector<Comparison> compare(const std::vector<RunRow>& runs);

/// "λ 0.1", "4 bits" or "–", and the setting where there is one.
std::string label(const ComparisonRow& row);

/// A number with so many decimals, independent of the locale; "–" for NaN.
std::string fixed(double value, int decimals, bool with_sign = false);
/// Decimals that show the smallest value with three digits.
int decimals_for(const std::vector<double>& values);

}  // namespace diffq
