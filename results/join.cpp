#include "results/join.h"

#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "results/comparison.h"

namespace diffq {
namespace {

/// The specification without what methods of one benchmark differ in.
std::string benchmark_key(const RunRow& row) {
  nlohmann::json config = nlohmann::json::parse(row.config_json, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return "";
  for (const char* key : {"method", "train", "start"}) config.erase(key);
  return config.dump();
}

/// Gives rows without metric_fp32 that of the finished fp32 run of the same data, model and seed.
void fill_fp32_metrics(std::vector<RunRow>& rows) {
  std::map<std::string, double> metrics;
  for (const RunRow& row : rows) {
    if (row.method == "fp32" && row.status == "done") metrics.emplace(benchmark_key(row), row.metric);
  }
  metrics.erase("");  // of rows without a specification
  for (RunRow& row : rows) {
    if (!std::isnan(row.metric_fp32)) continue;
    const auto found = metrics.find(benchmark_key(row));
    if (found != metrics.end()) row.metric_fp32 = found->second;
  }
}

struct Place {
  size_t file = 0;
  int knowledge = 0;
};

/// For each run the file that knows most of it.
std::unordered_map<std::string, Place> places_of(const std::vector<ResultFile>& files) {
  std::unordered_map<std::string, Place> places;
  for (size_t i = 0; i < files.size(); ++i) {
    for (const RunRow& run : files[i].runs) {
      const Place here{i, knowledge_of(run)};
      const auto [known, is_new] = places.emplace(run.run_id, here);
      if (!is_new && here.knowledge > known->second.knowledge) known->second = here;
    }
  }
  return places;
}

}  // namespace

ResultFile joined(std::vector<ResultFile> files) {
  const auto places = places_of(files);
  ResultFile all;
  std::unordered_set<std::string> names, sweep_files;
  for (size_t i = 0; i < files.size(); ++i) {
    ResultFile& file = files[i];
    const auto take = [&](auto& from, auto& to) {
      for (auto& row : from) {
        const auto place = places.find(row.run_id);
        if (place != places.end() && place->second.file == i) to.push_back(std::move(row));
      }
    };
    take(file.epochs, all.epochs);
    take(file.layers, all.layers);
    take(file.tracks, all.tracks);
    take(file.runs, all.runs);
    all.environment.insert(all.environment.end(), file.environment.begin(), file.environment.end());
    if (names.insert(file.sweep).second) all.sweep += (all.sweep.empty() ? "" : ", ") + file.sweep;
    for (const SweepRow& sweep : file.sweeps) {
      if (sweep_files.insert(sweep.sweep_json).second) all.sweeps.push_back(sweep);
    }
    all.program_version = file.program_version;
    all.git_commit = file.git_commit;
  }
  fill_fp32_metrics(all.runs);
  return all;
}

}  // namespace diffq
