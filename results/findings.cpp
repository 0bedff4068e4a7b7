#include <algorithm>
#include <map>

#include "results/analysis.h"

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

/// Of DiffQ's smallest row.
std::string against_fp32(const Comparison& comparison, const ComparisonRow& row) {
  const std::string size = "smallest size (" + shown_size(row.size_mb.mean) + ", " + label(row) + ") ";
  if (row.difference.count == 0)
    return "DiffQ's " + size + "can't be judged: there is no fp32 run of the same seeds.";
  const std::string place = "At DiffQ's " + size + comparison.metric_name;
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
  const std::string start = row.method != "ptq" && row.starts_trained && !diffq.starts_trained
                                ? " Its runs start from trained weights, DiffQ's do not."
                                : "";
  if (row.metric.count < 2 || diffq.metric.count < 2)
    return text + " (one seed, no spread to judge it by)." + start;
  const double spread = std::max(row.metric.deviation, diffq.metric.deviation);
  return text + (better > spread ? ", more than" : ", within") + " the seeds' spread of " + fixed(spread, 2) +
         "." + start;
}

/// Of each baseline method the row that beats DiffQ by the most.
std::vector<std::string> baselines_that_win(const Comparison& comparison) {
  struct Win {
    const ComparisonRow *baseline, *diffq;
    double gain;
  };
  std::vector<Win> wins;
  for (const ComparisonRow& row : comparison.rows) {
    if (row.method == "fp32" || row.method == "diffq") continue;
    const ComparisonRow* diffq = beaten_by(comparison, row);
    if (diffq == nullptr) continue;
    const Win win{&row, diffq, gain(comparison, row.metric.mean - diffq->metric.mean)};
    if (wins.empty() || wins.back().baseline->method != row.method) {
      wins.push_back(win);
    } else if (win.gain > wins.back().gain) {
      wins.back() = win;
    }
  }
  std::vector<std::string> result;
  for (const Win& win : wins) result.push_back(baseline_wins(comparison, *win.baseline, *win.diffq));
  return result;
}

/// "diffq 9.61 times (λ 10, 2 seeds, 95 % interval 6.51 to 9.61)"
std::string compression_text(const Comparison& comparison, const Compression& compression) {
  if (!compression.row) return compression.method + (compression.judged ? " none" : " not known yet");
  const ComparisonRow& row = comparison.rows[*compression.row];
  std::string text = compression.method + " " + fixed(compression.ratio.value, 2) + " times (" + label(row) +
                     ", " + seeds(row.metric.count);
  const Interval& interval = compression.ratio.interval;
  if (interval.is_known())
    text += ", 95 % interval " + fixed(interval.low, 2) + " to " + fixed(interval.high, 2);
  return text + ")";
}

constexpr double kLossPercent = 1;

std::string largest_compressions(const Comparison& comparison, const Analysis& analysis) {
  std::string list;
  for (const Compression& compression : analysis.compressions) {
    if (compression.loss_percent != kLossPercent) continue;
    list += (list.empty() ? "" : "; ") + compression_text(comparison, compression);
  }
  return "Smaller than fp32 at a loss of at most " + fixed(kLossPercent, 0) + " % of its " +
         comparison.metric_name + ": " + list + ".";
}

/// DiffQ against one method at equal size, over all settings of both.
struct Tally {
  std::map<Verdict, size_t> verdicts;
  double lowest = HUGE_VAL, highest = -HUGE_VAL;
};

std::string tally_text(const Comparison& comparison, const std::string& method, const Tally& tally) {
  const auto count = [&](Verdict verdict) {
    const auto found = tally.verdicts.find(verdict);
    return found == tally.verdicts.end() ? 0 : found->second;
  };
  std::string text = "At equal size DiffQ against " + method + ": ";
  const size_t judged = count(Verdict::kBetter) + count(Verdict::kWorse) + count(Verdict::kUndecided);
  const size_t one_seed = count(Verdict::kOneSeed), beyond = count(Verdict::kOutOfReach);
  if (judged > 0) {
    text += "better at " + std::to_string(count(Verdict::kBetter)) + ", worse at " +
            std::to_string(count(Verdict::kWorse)) + ", undecided at " +
            std::to_string(count(Verdict::kUndecided)) + " of " + std::to_string(judged) + " sizes";
  }
  if (one_seed > 0)
    text +=
        (judged > 0 ? ", " : "") + std::string("not judged at ") + std::to_string(one_seed) + " (one seed)";
  if (beyond > 0) {
    text += (judged + one_seed > 0 ? ", " : "") + std::to_string(beyond) + " beyond DiffQ's sizes";
  }
  if (judged + one_seed == 0) return text + ".";
  return text + "; the difference in " + comparison.metric_name + " is " + fixed(tally.lowest, 2, true) +
         (tally.lowest == tally.highest ? "" : " to " + fixed(tally.highest, 2, true)) + ".";
}

std::vector<std::string> equal_size_tallies(const Comparison& comparison, const Analysis& analysis) {
  std::map<std::string, Tally> tallies;
  for (const EqualSize& equal : analysis.equal_sizes) {
    Tally& tally = tallies[comparison.rows[equal.row].method];
    ++tally.verdicts[equal.verdict];
    if (equal.verdict == Verdict::kOutOfReach) continue;
    tally.lowest = std::min(tally.lowest, equal.difference.value);
    tally.highest = std::max(tally.highest, equal.difference.value);
  }
  std::vector<std::string> result;
  for (const MethodFront& front : analysis.fronts) {
    const auto tally = tallies.find(front.method);
    if (tally != tallies.end()) result.push_back(tally_text(comparison, front.method, tally->second));
  }
  return result;
}

}  // namespace

std::vector<std::string> findings(const Comparison& comparison, const Analysis& analysis) {
  std::vector<std::string> result;
  const auto append = [&](const std::vector<std::string>& more) {
    result.insert(result.end(), more.begin(), more.end());
  };
  if (const ComparisonRow* smallest = smallest_diffq(comparison)) {
    append({against_fp32(comparison, *smallest)});
    append(baselines_that_win(comparison));
  }
  if (std::ranges::any_of(analysis.compressions, &Compression::judged))
    append({largest_compressions(comparison, analysis)});
  append(equal_size_tallies(comparison, analysis));
  return result;
}

}  // namespace diffq
