#include "results/analysis.h"

#include <algorithm>
#include <map>

namespace diffq {
namespace {

constexpr size_t kBandPoints = 100;

/// One run; quality is the metric, or minus the metric where less is better.
struct Sample {
  Point point;
  double loss = kNotApplicable;  ///< quality of fp32 of the same seed − quality
  double ratio = kNotApplicable;
};
using Stratum = std::vector<Sample>;

/// DiffQ's rows that differ in λ alone.
struct Family {
  std::string setting;
  std::vector<size_t> rows;
};

/// The comparison as the bootstrap sees it.
struct Data {
  double sign = 1;              ///< quality = sign · metric
  std::vector<Stratum> strata;  ///< one a row
  std::vector<std::string> methods;
  std::map<std::string, std::vector<size_t>> rows_of;  ///< method → rows
  std::vector<size_t> baselines;
  std::vector<Family> families;
};

Data data_of(const Comparison& comparison) {
  Data data;
  data.sign = comparison.higher_is_better ? 1 : -1;
  for (size_t i = 0; i < comparison.rows.size(); ++i) {
    const ComparisonRow& row = comparison.rows[i];
    Stratum& stratum = data.strata.emplace_back();
    for (const RunRow& run : row.done) {
      if (std::isnan(run.metric) || std::isnan(run.size_mb)) continue;
      stratum.push_back(
          {{run.size_mb, data.sign * run.metric}, data.sign * (run.metric_fp32 - run.metric), run.ratio});
    }
    if (row.method == "fp32") continue;
    if (data.rows_of[row.method].empty()) data.methods.push_back(row.method);
    data.rows_of[row.method].push_back(i);
    if (row.method != "diffq") {
      data.baselines.push_back(i);
      continue;
    }
    const auto family = std::find_if(data.families.begin(), data.families.end(),
                                     [&](const Family& each) { return each.setting == row.setting; });
    if (family == data.families.end()) {
      data.families.push_back({row.setting, {i}});
    } else {
      family->rows.push_back(i);
    }
  }
  return data;
}

/// The mean of each row, of all its runs or of a resample; the loss over the runs whose fp32 run is known.
std::vector<Sample> means_of(const std::vector<Stratum>& strata, Resampler* resampler) {
  std::vector<Sample> means;
  means.reserve(strata.size());
  for (const Stratum& stratum : strata) {
    Sample sum{{0, 0}, 0, 0};
    double losses = 0;
    for (size_t k = 0; k < stratum.size(); ++k) {
      const Sample& sample = stratum[resampler != nullptr ? resampler->draw(stratum.size()) : k];
      sum.point.size += sample.point.size;
      sum.point.quality += sample.point.quality;
      sum.ratio += sample.ratio;
      if (std::isnan(sample.loss)) continue;
      sum.loss += sample.loss;
      ++losses;
    }
    const auto n = static_cast<double>(stratum.size());  // 0/0 is the NaN that an empty row should have
    means.push_back({{sum.point.size / n, sum.point.quality / n}, sum.loss / losses, sum.ratio / n});
  }
  return means;
}

std::vector<Point> points_of(const std::vector<Sample>& means, const std::vector<size_t>& rows) {
  std::vector<Point> points;
  for (const size_t row : rows) points.push_back(means[row].point);
  return points;
}

/// The row of largest ratio among those within the loss.
std::optional<size_t> most_compressed(const std::vector<Sample>& means, const std::vector<size_t>& rows,
                                      double loss) {
  std::optional<size_t> best;
  for (const size_t row : rows) {
    if (means[row].loss <= loss && (!best || means[row].ratio > means[*best].ratio)) best = row;
  }
  return best;
}

double fp32_metric(const Comparison& comparison) {
  std::vector<double> own, noted;
  for (const ComparisonRow& row : comparison.rows) {
    for (const RunRow& run : row.done) {
      if (row.method == "fp32") own.push_back(run.metric);
      noted.push_back(run.metric_fp32);
    }
  }
  const Spread spread = spread_of(own);
  return spread.count > 0 ? spread.mean : spread_of(noted).mean;
}

std::optional<Point> reference_of(const Comparison& comparison, double fp32_metric, double sign) {
  double size = 0;
  for (const ComparisonRow& row : comparison.rows) {
    for (const RunRow& run : row.done) {
      if (run.size_fp32_mb > size) size = run.size_fp32_mb;
    }
  }
  if (size == 0 || !std::isfinite(fp32_metric)) return std::nullopt;
  return Point{size, sign * fp32_metric - kReferenceLossPercent / 100 * std::abs(fp32_metric)};
}

/// Sizes evenly over the logarithm, from the smallest mean to the largest.
std::vector<double> band_sizes(const Data& data, const std::vector<Sample>& means) {
  double smallest = HUGE_VAL, largest = 0;
  for (const std::string& method : data.methods) {
    for (const Point& point : points_of(means, data.rows_of.at(method))) {
      if (!is_usable(point)) continue;
      smallest = std::min(smallest, point.size);
      largest = std::max(largest, point.size);
    }
  }
  std::vector<double> sizes;
  if (largest == 0) return sizes;
  for (size_t i = 0; i < kBandPoints; ++i) {
    const double part = static_cast<double>(i) / (kBandPoints - 1);
    sizes.push_back(smallest * std::pow(largest / smallest, part));
  }
  return sizes;
}

/// The fewest seeds of the family's rows that the interpolation at `size` uses; 0 where it would go beyond
/// them.
size_t seeds_next_to(const Data& data, const std::vector<Sample>& means, const Family& family, double size) {
  const std::vector<Point> line = line_through(points_of(means, family.rows));
  if (line.empty() || !(size >= line.front().size) || !(size <= line.back().size)) return 0;
  double left = line.front().size, right = line.back().size;
  for (const Point& point : line) {
    if (point.size <= size) left = point.size;
    if (point.size >= size) right = std::min(right, point.size);
  }
  size_t fewest = SIZE_MAX;
  for (const size_t row : family.rows) {
    const Point& point = means[row].point;
    if (is_usable(point) && (point.size == left || point.size == right))
      fewest = std::min(fewest, data.strata[row].size());
  }
  return fewest;
}

bool has_two_seeds(const Data& data, const std::vector<size_t>& rows) {
  return std::all_of(rows.begin(), rows.end(), [&](size_t row) { return data.strata[row].size() >= 2; });
}

/// The central 95 % of each number that `statistic` makes of the rows' means, over the resamples.
template <class Statistic>
std::vector<Interval> bootstrap(const Data& data, size_t count, const Statistic& statistic) {
  std::vector<std::vector<double>> values(count, std::vector<double>(kResamples));
  Resampler resampler;
  for (size_t b = 0; b < kResamples; ++b) {
    const std::vector<double> drawn = statistic(means_of(data.strata, &resampler));
    for (size_t i = 0; i < count; ++i) values[i][b] = drawn[i];
  }
  std::vector<Interval> intervals;
  for (const auto& each : values) intervals.push_back(central_95(each));
  return intervals;
}

/// From quality to the metric, of which less may be better.
Interval turned(Interval interval, double sign) {
  return sign > 0 ? interval : Interval{-interval.high, -interval.low};
}

Verdict verdict_of(const Interval& quality) {
  if (!quality.is_known()) return Verdict::kOneSeed;
  return quality.low > 0 ? Verdict::kBetter : quality.high < 0 ? Verdict::kWorse : Verdict::kUndecided;
}

/// Fills in the method's front and its compressions.
void add_method(const Data& data, const std::vector<Sample>& means, const std::string& method,
                const std::vector<double>& sizes, Analysis& result) {
  const std::vector<size_t>& rows = data.rows_of.at(method);
  const auto loss = [&](double percent) { return percent / 100 * std::abs(result.fp32_metric); };
  const auto statistic = [&](const std::vector<Sample>& drawn) {
    const std::vector<Point> points = points_of(drawn, rows);
    std::vector<Point> front;
    for (const size_t i : pareto_front(points)) front.push_back(points[i]);
    std::vector<double> values{result.reference ? hypervolume(front, *result.reference) : kNotApplicable};
    for (const double percent : kLossPercents) {
      const auto row = most_compressed(drawn, rows, loss(percent));
      values.push_back(row ? drawn[*row].ratio : 1);  // none keeps within it: fp32 itself
    }
    for (const double size : sizes) values.push_back(best_within(front, size));
    return values;
  };
  const size_t first_band = 1 + kLossPercents.size();
  const auto intervals = bootstrap(data, first_band + sizes.size(), statistic);

  MethodFront front{method, {}, {}, {}};
  for (const size_t i : pareto_front(points_of(means, rows))) front.rows.push_back(rows[i]);
  if (!front.rows.empty()) front.hypervolume.value = statistic(means)[0];
  if (!front.rows.empty() && has_two_seeds(data, front.rows)) {
    front.hypervolume.interval = intervals[0];
    for (size_t i = 0; i < sizes.size(); ++i) {
      const Interval& quality = intervals[first_band + i];
      if (quality.is_known()) front.band.push_back({sizes[i], turned(quality, data.sign)});
    }
  }
  result.fronts.push_back(std::move(front));
  const bool judged = std::ranges::any_of(rows, [&](size_t row) { return !std::isnan(means[row].loss); });
  for (size_t i = 0; i < kLossPercents.size(); ++i) {
    Compression compression{
        method, kLossPercents[i], judged, most_compressed(means, rows, loss(kLossPercents[i])), {}, {}};
    if (compression.row) {
      const size_t row = *compression.row;
      compression.ratio.value = means[row].ratio;
      compression.difference.value = -data.sign * means[row].loss;
      if (has_two_seeds(data, {row})) compression.ratio.interval = intervals[1 + i];
    }
    result.compressions.push_back(compression);
  }
}

/// DiffQ's rows of one family against all baselines.
void add_equal_sizes(const Data& data, const std::vector<Sample>& means, const Family& family,
                     Analysis& result) {
  const auto differences = [&](const std::vector<Sample>& drawn) {
    const std::vector<Point> line = line_through(points_of(drawn, family.rows));
    std::vector<double> values;
    for (const size_t row : data.baselines) {
      values.push_back(interpolate(line, drawn[row].point.size) - drawn[row].point.quality);
    }
    return values;
  };
  const auto observed = differences(means);
  const auto intervals = bootstrap(data, observed.size(), differences);
  for (size_t i = 0; i < data.baselines.size(); ++i) {
    EqualSize equal{data.baselines[i], family.setting, 0, kNotApplicable, {}, Verdict::kOutOfReach};
    const Point& baseline = means[equal.row].point;
    if (!is_usable(baseline)) continue;
    equal.diffq_seeds = seeds_next_to(data, means, family, baseline.size);
    if (equal.diffq_seeds > 0) {
      const bool has_interval = equal.diffq_seeds >= 2 && has_two_seeds(data, {equal.row});
      const Interval quality = has_interval ? intervals[i] : Interval{};
      equal.diffq_metric = data.sign * (baseline.quality + observed[i]);
      equal.difference = {data.sign * observed[i], turned(quality, data.sign)};
      equal.verdict = verdict_of(quality);
    }
    result.equal_sizes.push_back(equal);
  }
}

}  // namespace

Analysis analyse(const Comparison& comparison) {
  const Data data = data_of(comparison);
  const std::vector<Sample> means = means_of(data.strata, nullptr);
  Analysis result;
  result.fp32_metric = fp32_metric(comparison);
  result.reference = reference_of(comparison, result.fp32_metric, data.sign);
  const std::vector<double> sizes = band_sizes(data, means);
  for (const std::string& method : data.methods) add_method(data, means, method, sizes, result);
  for (const Family& family : data.families) add_equal_sizes(data, means, family, result);
  return result;
}

}  // namespace diffq
