#include "results/page_data.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <unordered_map>
#include <utility>

#include "results/report_tables.h"

namespace diffq {
namespace {

using nlohmann::json;

template <class Row>
using RowsOfRuns = std::unordered_map<std::string, std::vector<const Row*>>;

template <class Row>
RowsOfRuns<Row> by_run(const std::vector<Row>& rows) {
  RowsOfRuns<Row> result;
  for (const Row& row : rows) result[row.run_id].push_back(&row);
  return result;
}

/// Four digits: more than a chart shows.
json rounded(double value) {
  if (!std::isfinite(value)) return nullptr;
  char text[40];
  const auto end = std::to_chars(text, text + sizeof(text), value, std::chars_format::scientific, 3).ptr;
  double result = 0;
  std::from_chars(text, end, result);
  return result;
}

/// All indices below n, or `count` (≥ 2) of them, evenly from the first to the last.
std::vector<size_t> evenly(size_t n, size_t count) {
  const size_t taken = std::min(n, count);
  std::vector<size_t> indices;
  for (size_t i = 0; i < taken; ++i) indices.push_back(n == taken ? i : i * (n - 1) / (count - 1));
  return indices;
}

/// The worst metric that the charts show to scale, by Tukey's outer fence: a few runs that fell apart should
/// not squeeze all others into a line. Null if none lies beyond it.
json worst_shown(const Comparison& comparison) {
  const double sign = comparison.higher_is_better ? 1 : -1;
  std::vector<double> qualities;
  for (const ComparisonRow& row : comparison.rows) {
    for (const RunRow& run : row.done) {
      if (std::isfinite(run.metric)) qualities.push_back(sign * run.metric);
    }
  }
  const double quarter = quantile(qualities, 0.25);
  const double fence = quarter - 3 * (quantile(qualities, 0.75) - quarter);
  const bool has_outliers =
      std::any_of(qualities.begin(), qualities.end(), [&](double quality) { return quality < fence; });
  return has_outliers ? json(sign * fence) : json();
}

std::vector<const RunRow*> all_runs(const ComparisonRow& row) {
  std::vector<const RunRow*> runs;
  for (const auto* part : {&row.done, &row.failed, &row.pending}) {
    for (const RunRow& run : *part) runs.push_back(&run);
  }
  return runs;
}

json settings_json(const Comparison& comparison) {
  json list = json::array();
  for (const ComparisonRow& row : comparison.rows) {
    list.push_back({{"method", row.method},
                    {"label", label(row)},
                    {"setting", row.setting},
                    {"lambda", row.lambda},
                    {"bits", row.bits},
                    {"seeds", row.metric.count},
                    {"metric", row.metric.mean},
                    {"deviation", row.metric.deviation},
                    {"size_mb", row.size_mb.mean},
                    {"size_deviation", row.size_mb.deviation},
                    {"ratio", row.ratio.mean}});
  }
  return list;
}

/// By columns, in the order of the settings.
json runs_json(const Comparison& comparison) {
  json runs{{"id", json::array()},     {"setting", json::array()},  {"seed", json::array()},
            {"status", json::array()}, {"metric", json::array()},   {"size_mb", json::array()},
            {"ratio", json::array()},  {"mean_bits", json::array()}};
  for (size_t i = 0; i < comparison.rows.size(); ++i) {
    for (const RunRow* run : all_runs(comparison.rows[i])) {
      runs["id"].push_back(run->run_id);
      runs["setting"].push_back(i);
      runs["seed"].push_back(run->seed);
      runs["status"].push_back(run->status);
      runs["metric"].push_back(run->metric);
      runs["size_mb"].push_back(run->size_mb);
      runs["ratio"].push_back(rounded(run->ratio));
      runs["mean_bits"].push_back(rounded(run->mean_bits));
    }
  }
  return runs;
}

json fronts_json(const Analysis& analysis) {
  json list = json::array();
  for (const MethodFront& front : analysis.fronts) {
    json band = json::array();
    for (const auto& point : front.band)
      band.push_back({rounded(point.size_mb), point.metric.low, point.metric.high});
    list.push_back({{"method", front.method}, {"settings", front.rows}, {"band", band}});
  }
  return list;
}

json equal_sizes_json(const Comparison& comparison, const Analysis& analysis) {
  json list = json::array();
  for (const EqualSize& equal : analysis.equal_sizes) {
    if (equal.verdict == Verdict::kOutOfReach) continue;
    list.push_back({{"setting", equal.row},
                    {"diffq_setting", equal.setting},
                    {"seeds", {comparison.rows[equal.row].metric.count, equal.diffq_seeds}},
                    {"diffq_metric", equal.diffq_metric},
                    {"difference", equal.difference.value},
                    {"low", equal.difference.interval.low},
                    {"high", equal.difference.interval.high}});
  }
  return list;
}

/// Mean bits of each layer and the histogram over all layers, mean over the runs of a setting.
json layers_of_setting(const ComparisonRow& row, const RowsOfRuns<LayerRow>& layers,
                       const std::unordered_map<std::string, size_t>& places) {
  std::vector<double> bits(places.size(), 0);
  std::vector<size_t> runs(places.size(), 0);
  std::array<double, 16> weights{};
  for (const RunRow& run : row.done) {
    const auto found = layers.find(run.run_id);
    if (found == layers.end()) continue;
    for (const LayerRow* layer : found->second) {
      const size_t place = places.at(layer->layer);
      bits[place] += layer->mean_bits;
      ++runs[place];
      for (size_t width = 0; width < weights.size(); ++width)
        weights[width] += static_cast<double>(layer->bits[width]);
    }
  }
  double all = 0;
  for (const double weight : weights) all += weight;
  if (all == 0) return nullptr;
  json mean_bits = json::array(), share = json::array();
  for (size_t i = 0; i < bits.size(); ++i) {
    const auto n = static_cast<double>(runs[i]);
    mean_bits.push_back(rounded(n > 0 ? bits[i] / n : kNotApplicable));
  }
  for (const double weight : weights) share.push_back(rounded(weight / all));
  return {{"mean_bits", mean_bits}, {"share", share}};
}

/// Of the settings whose bits are learned; layers in the order of the forward pass.
json layers_json(const Comparison& comparison, const RowsOfRuns<LayerRow>& layers) {
  std::vector<std::string> names;
  std::unordered_map<std::string, size_t> places;
  std::vector<size_t> learned;
  for (size_t i = 0; i < comparison.rows.size(); ++i) {
    if (std::isnan(comparison.rows[i].lambda)) continue;
    learned.push_back(i);
    for (const RunRow& run : comparison.rows[i].done) {
      const auto found = layers.find(run.run_id);
      if (found == layers.end()) continue;
      // The table lists tensors as gradients arrive, the last layer first.
      for (auto layer = found->second.rbegin(); layer != found->second.rend(); ++layer) {
        if (places.emplace((*layer)->layer, names.size()).second) names.push_back((*layer)->layer);
      }
    }
  }
  json settings = json::array();
  if (!names.empty()) {
    const size_t count = std::max<size_t>(kLayerValues / (names.size() + 16), 2);
    for (const size_t i : evenly(learned.size(), count)) {
      json entry = layers_of_setting(comparison.rows[learned[i]], layers, places);
      if (entry.is_null()) continue;
      entry["setting"] = learned[i];
      settings.push_back(std::move(entry));
    }
  }
  return {{"names", names}, {"settings", settings}, {"of_settings", learned.size()}};
}

constexpr std::array kCurves{std::pair{"train_loss", &EpochRow::train_loss},
                             std::pair{"eval_loss", &EpochRow::eval_loss},
                             std::pair{"metric", &EpochRow::metric}, std::pair{"size_mb", &EpochRow::size_mb},
                             std::pair{"mean_bits", &EpochRow::mean_bits}};

/// {"epoch": [[1, 2, …], …], "train_loss": [[…], …], …}: a list for each entry of runs_json, empty for a run
/// without epochs. `epoch` is left out where it is that of the run before.
json curves_json(const Comparison& comparison, const RowsOfRuns<EpochRow>& epochs, size_t points) {
  json curves{{"epoch", json::array()}};
  for (const auto& [name, member] : kCurves) curves[name] = json::array();
  std::vector<int64_t> last;
  for (const ComparisonRow& row : comparison.rows) {
    for (const RunRow* run : all_runs(row)) {
      const auto found = epochs.find(run->run_id);
      std::vector<const EpochRow*> shown;
      if (found != epochs.end()) {
        for (const size_t i : evenly(found->second.size(), points)) shown.push_back(found->second[i]);
      }
      std::vector<int64_t> numbers;
      for (const EpochRow* epoch : shown) numbers.push_back(epoch->epoch);
      curves["epoch"].push_back(numbers == last && !numbers.empty() ? json() : json(numbers));
      last = numbers;
      for (const auto& [name, member] : kCurves) {
        json values = json::array();
        for (const EpochRow* epoch : shown) values.push_back(rounded(epoch->*member));
        curves[name].push_back(std::move(values));
      }
    }
  }
  return curves;
}

}  // namespace

json page_data(const Report& report) {
  const auto layers = by_run(report.results.layers);
  const auto epochs = by_run(report.results.epochs);
  const size_t points =
      std::max<size_t>(kCurveValues / kCurves.size() / std::max<size_t>(epochs.size(), 1), 2);
  json benchmarks = json::array();
  for (size_t i = 0; i < report.comparisons.size(); ++i) {
    const Comparison& comparison = report.comparisons[i];
    const Analysis& analysis = report.analyses[i];
    benchmarks.push_back({{"title", title_of(comparison)},
                          {"metric_name", comparison.metric_name},
                          {"higher_is_better", comparison.higher_is_better},
                          {"fp32_metric", analysis.fp32_metric},
                          {"worst_shown", worst_shown(comparison)},
                          {"settings", settings_json(comparison)},
                          {"runs", runs_json(comparison)},
                          {"fronts", fronts_json(analysis)},
                          {"equal_sizes", equal_sizes_json(comparison, analysis)},
                          {"layers", layers_json(comparison, layers)},
                          {"curves", curves_json(comparison, epochs, points)}});
  }
  return {{"benchmarks", benchmarks}};
}

}  // namespace diffq
