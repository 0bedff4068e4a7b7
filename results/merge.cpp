#include "results/merge.h"

#include <unordered_map>
#include <unordered_set>

#include "results/comparison.h"

namespace diffq {
namespace {

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

ResultFile merged(std::vector<ResultFile> files) {
  if (files.size() == 1) return std::move(files.front());
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
    take(file.runs, all.runs);
    all.environment.insert(all.environment.end(), file.environment.begin(), file.environment.end());
    if (names.insert(file.sweep).second) all.sweep += (all.sweep.empty() ? "" : ", ") + file.sweep;
    for (const SweepRow& sweep : file.sweeps) {
      if (sweep_files.insert(sweep.sweep_json).second) all.sweeps.push_back(sweep);
    }
    all.program_version = file.program_version;
    all.git_commit = file.git_commit;
  }
  return all;
}

}  // namespace diffq
