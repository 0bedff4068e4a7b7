#pragma once
// What a comparison of methods says with its uncertainty: Pareto fronts, DiffQ at the size of each baseline,
// the largest compression within a loss, hypervolumes. All intervals are of one stratified bootstrap: the
// runs of each row are drawn with replacement, rows apart from each other, kResamples times. Where a row that
// a number rests on has one seed, the number has no interval.

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "results/comparison.h"
#include "results/statistics.h"

namespace diffq {

inline constexpr size_t kResamples = 2000;
inline constexpr std::array kLossPercents{0.5, 1.0, 2.0, 5.0};  ///< of the fp32 metric
inline constexpr double kReferenceLossPercent = 10;             ///< where hypervolumes begin

struct Estimate {
  double value = kNotApplicable;
  Interval interval;  ///< 95 %
};

/// A method's front; rows are indices into Comparison::rows.
struct MethodFront {
  struct BandPoint {
    double size_mb;
    Interval metric;
  };
  std::string method;
  std::vector<size_t> rows;     ///< by growing size
  std::vector<BandPoint> band;  ///< empty with one seed
  Estimate hypervolume;         ///< metric × doublings of compression; NaN without a front or a reference
};

/// The largest ratio of a method whose mean loss against fp32 of the same seeds is within a limit.
struct Compression {
  std::string method;
  double loss_percent = 0;
  bool judged = false;         ///< whether any run is done whose fp32 run is too
  std::optional<size_t> row;   ///< none: no setting keeps within the limit
  Estimate ratio, difference;  ///< difference: metric − metric_fp32 of that row
};

enum class Verdict { kBetter, kWorse, kUndecided, kOneSeed, kOutOfReach };

/// DiffQ against a baseline's row, at that row's size: DiffQ's metric is interpolated over log size between
/// the rows that differ in λ alone, never beyond them.
struct EqualSize {
  size_t row = 0;          ///< the baseline's
  std::string setting;     ///< DiffQ's, apart from λ; "" if there is one alone
  size_t diffq_seeds = 0;  ///< the fewest of the rows next to that size; 0: out of reach
  double diffq_metric = kNotApplicable;
  Estimate difference;                     ///< DiffQ − baseline, in the metric's unit
  Verdict verdict = Verdict::kOutOfReach;  ///< of DiffQ: whether the interval holds 0
};

struct Analysis {
  double fp32_metric = kNotApplicable;    ///< mean over seeds
  std::optional<Point> reference;         ///< of the hypervolumes: fp32's size, its metric made worse by 10 %
  std::vector<MethodFront> fronts;        ///< all methods but fp32, in the comparison's order
  std::vector<Compression> compressions;  ///< a method × kLossPercents
  std::vector<EqualSize> equal_sizes;     ///< DiffQ's settings × the baselines' rows
};

Analysis analyse(const Comparison& comparison);

/// What the numbers say, in sentences: the smallest DiffQ size against fp32 and the baselines that beat DiffQ
/// without being larger, judged by the spread over seeds; then the largest compression of each method and who
/// wins at equal size, judged by the intervals.
std::vector<std::string> findings(const Comparison& comparison, const Analysis& analysis);

}  // namespace diffq
