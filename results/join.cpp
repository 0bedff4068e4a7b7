#include "results/join.h"

#include <map>
#include <string>

namespace diffq {
namespace {

/// The specification without what methods of one benchmark differ in.
std::string benchmark_key(const RunRow& row) {
  nlohmann::json config = nlohmann::json::parse(row.config_json, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return "";
  for (const char* key : {"method", "train", "start"}) config.erase(key);
  return config.dump();
}

}  // namespace

void fill_fp32_metrics(std::vector<RunRow>& rows) {
  std::map<std::string, double> metrics;
  for (const RunRow& row : rows) {
    if (row.method == "fp32" && row.status == "done") metrics.emplace(benchmark_key(row), row.metric);
  }
  for (RunRow& row : rows) {
    if (!std::isnan(row.metric_fp32)) continue;
    const auto found = metrics.find(benchmark_key(row));
    if (found != metrics.end()) row.metric_fp32 = found->second;
  }
}

}  // namespace diffq
