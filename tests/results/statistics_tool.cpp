// For statistics.py: reads tables as JSON, one a line, and answers each with what statistics.h and analysis.h
// make of it.
//   {"points": [[size, quality], …], "reference": [size, quality], "at": [size, …], "values": […]}
//   {"runs": [{method, lambda, bits, seed, metric, metric_fp32, size_mb, ratio}, …], "higher_is_better":
//   true}
// null stands for NaN, "inf" and "-inf" for what JSON has no number for.

#include <iostream>
#include <string>

#include "results/analysis.h"

namespace {

using diffq::Interval;
using diffq::Point;
using nlohmann::json;

double number(const json& value) {
  if (value.is_null()) return diffq::kNotApplicable;
  return value.is_string() ? std::stod(value.get<std::string>()) : value.get<double>();
}
Point point_of(const json& value) { return {number(value[0]), number(value[1])}; }
json to_json(const Interval& interval) { return {interval.low, interval.high}; }

json of_points(const json& table) {
  std::vector<Point> points;
  for (const json& point : table["points"]) points.push_back(point_of(point));
  std::vector<double> values;
  for (const json& value : table["values"]) values.push_back(number(value));
  json best = json::array(), on_line = json::array();
  for (const json& size : table["at"]) {
    best.push_back(diffq::best_within(points, size));
    on_line.push_back(diffq::interpolate(diffq::line_through(points), size));
  }
  return {{"front", diffq::pareto_front(points)},
          {"hypervolume", diffq::hypervolume(points, point_of(table["reference"]))},
          {"best_within", best},
          {"interpolated", on_line},
          {"central_95", to_json(diffq::central_95(values))}};
}

diffq::RunRow run_of(const json& row, bool higher_is_better) {
  diffq::RunRow run;
  run.status = "done";
  run.benchmark = run.dataset = run.model = run.metric_name = "made up";
  run.higher_is_better = higher_is_better;
  run.method = row["method"];
  run.lambda = number(row["lambda"]);
  run.bits = number(row["bits"]);
  run.seed = row["seed"];
  run.metric = number(row["metric"]);
  run.metric_fp32 = number(row["metric_fp32"]);
  run.size_mb = number(row["size_mb"]);
  run.ratio = number(row["ratio"]);
  run.size_fp32_mb = 32;
  run.config_json = json{{"seed", run.seed}}.dump();
  return run;
}

json of_runs(const json& table) {
  std::vector<diffq::RunRow> runs;
  for (const json& row : table["runs"]) runs.push_back(run_of(row, table["higher_is_better"]));
  const diffq::Comparison comparison = diffq::compare(runs).at(0);
  const diffq::Analysis analysis = diffq::analyse(comparison);
  json result{{"fronts", json::object()}, {"compressions", json::array()}, {"equal_sizes", json::array()}};
  for (const auto& front : analysis.fronts) {
    json band = json::array();
    for (const auto& each : front.band) band.push_back({each.size_mb, each.metric.low, each.metric.high});
    result["fronts"][front.method] = {{"rows", front.rows},
                                      {"band", band},
                                      {"hypervolume", front.hypervolume.value},
                                      {"interval", to_json(front.hypervolume.interval)}};
  }
  for (const auto& each : analysis.compressions) {
    result["compressions"].push_back({{"method", each.method},
                                      {"loss_percent", each.loss_percent},
                                      {"row", each.row ? json(*each.row) : json()},
                                      {"ratio", each.ratio.value},
                                      {"interval", to_json(each.ratio.interval)},
                                      {"difference", each.difference.value}});
  }
  for (const auto& each : analysis.equal_sizes) {
    result["equal_sizes"].push_back({{"row", each.row},
                                     {"seeds", each.diffq_seeds},
                                     {"difference", each.difference.value},
                                     {"interval", to_json(each.difference.interval)},
                                     {"verdict", static_cast<int>(each.verdict)}});
  }
  return result;
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    const json table = json::parse(line);
    std::cout << (table.contains("runs") ? of_runs(table) : of_points(table)).dump() << "\n";
  }
}
