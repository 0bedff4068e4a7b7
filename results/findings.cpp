#include <algorithm>

#include "results/comparison.h"

namespace diffq {
namespace {

std::string seeds(size_t count) { return count == 1 ? "one seed" : std::to_string(count) + " seeds"; }

/// How much better `difference` is, in the metric's own direction.
double gain(const Comparison& comparison, double difference) {
  return comparison.higher_is_better ? difference : -difference;
}

std::string shown_size(double size_mb) { return fixed(size_mb, decimals_for({size_mb})) + " MB"; }

const ComparisonRow* smallest_diffq(const Comparison& comparison) {
  const ComparisonRow* smallest = nullptr;
  for (const ComparisonRow& row : comparison.rows) {
    if (row.method != "diffq" || row.size_mb.count == 0) continue;
    if (smallest == nullptr || row.size_mb.mean < smallest->size_mb.mean) smallest = &row;
  }
  return smallest;
}

/// The larger of the two standard deviations over the seeds that have both metrics: the reader finds both in
/// the table.
double spread_with_fp32(const ComparisonRow& row) {
  std::vector<double> own, fp32;
  for (const RunRow& run : row.done) {
    if (std::isnan(run.metric) || std::isnan(run.metric_fp32)) continue;
    own.push_back(run.metric);
    fp32.push_back(run.metric_fp32);
  }
  const double a = spread_of(own).deviation, b = spread_of(fp32).deviation;
  return std::isnan(a) || std::isnan(b) ? kNotApplicable : std::max(a, b);
}

std::string against_fp32(const Comparison& comparison, const ComparisonRow& row) {
  const std::string place = "At DiffQ's smallest size (" + shown_size(row.size_mb.mean) + ", " + label(row) +
                            ") " + comparison.metric_name;
  const double better = gain(comparison, row.difference.mean);
  const std::string by = fixed(std::abs(better), 2);
  const std::string direction = better < 0 ? " is worse than fp32 by " : " is better than fp32 by ";
  const double spread = spread_with_fp32(row);
  if (std::isnan(spread)) {
    return place + (better == 0 ? " is that of fp32" : direction + by) + " with " +
           seeds(row.difference.count) + ": there is no spread to judge it by.";
  }
  const std::string basis = fixed(spread, 2) + " (" + seeds(row.difference.count) + ").";
  if (std::abs(better) <= spread) {
    return place + " is equal to fp32 within the seeds' spread: a difference of " +
           fixed(row.difference.mean, 2, true) + ", a spread of " + basis;
  }
  return place + direction + by + ", more than the seeds' spread of " + basis;
}

/// The nearest DiffQ row that is not smaller than `row`, but worse.
const ComparisonRow* beaten_by(const Comparison& comparison, const ComparisonRow& row) {
  const ComparisonRow* nearest = nullptr;
  for (const ComparisonRow& diffq : comparison.rows) {
    if (diffq.method != "diffq" || diffq.metric.count == 0 || !(diffq.size_mb.mean >= row.size_mb.mean))
      continue;
    if (!(gain(comparison, row.metric.mean - diffq.metric.mean) > 0)) continue;
    if (nearest == nullptr || diffq.size_mb.mean < nearest->size_mb.mean) nearest = &diffq;
  }
  return nearest;
}

std::string baseline_wins(const Comparison& comparison, const ComparisonRow& row,
                          const ComparisonRow& diffq) {
  const double better = std::abs(row.metric.mean - diffq.metric.mean);
  std::string text = row.method + " at " + label(row) + " beats DiffQ at " + label(diffq) + ": " +
                     shown_size(row.size_mb.mean) + " against " + shown_size(diffq.size_mb.mean) + ", and " +
                     comparison.metric_name + " better by " + fixed(better, 2);
  if (row.metric.count < 2 || diffq.metric.count < 2) return text + " (one seed, no spread to judge it by).";
  const double spread = std::max(row.metric.deviation, diffq.metric.deviation);
  return text + (better > spread ? ", more than" : ", within") + " the seeds' spread of " + fixed(spread, 2) +
         ".";
}

}  // namespace

std::vector<std::string> findings(const Comparison& comparison) {
  std::vector<std::string> result;
  const ComparisonRow* smallest = smallest_diffq(comparison);
  if (smallest == nullptr) return result;
  if (smallest->difference.count > 0) {
    result.push_back(against_fp32(comparison, *smallest));
  } else {
    result.push_back("DiffQ's smallest size (" + shown_size(smallest->size_mb.mean) + ", " +
                     label(*smallest) + ") can't be judged: there is no fp32 run of the same seeds.");
  }
  for (const ComparisonRow& row : comparison.rows) {
    if (row.method == "fp32" || row.method == "diffq") continue;
    if (const ComparisonRow* diffq = beaten_by(comparison, row))
      result.push_back(baseline_wins(comparison, row, *diffq));
  }
  return result;
}

}  // namespace diffq
