#include "launcher/commands.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <set>
#include <stdexcept>

#include "launcher/load_sweep.h"
#include "launcher/results_writer.h"
#include "launcher/sweep_state.h"
#include "results/durable_file.h"
#include "results/report.h"
#include "sweeps/plan.h"
#include "trainer/train_run.h"

namespace diffq {
namespace {

std::string state_word(RunState state) {
  switch (state) {
    case RunState::done:
      return "done";
    case RunState::failed:
      return "failed";
    case RunState::pending:
    case RunState::running:
      break;
  }
  return "to run";
}

}  // namespace

int plan_command(const std::string& sweep_file, const std::vector<std::string>& overrides,
                 const std::string& out) {
  const LoadedSweep loaded = load_sweep(sweep_file, overrides);
  const Sweep& sweep = loaded.sweep;
  FolderState folder;
  std::vector<std::string> warnings;
  if (!out.empty()) {
    check_folder(out, sweep);
    folder = read_folder(out, sweep, /*retry_failed=*/false, warnings);
  }
  std::vector<PlanColumns> details;
  std::map<std::string, RunFootprint> sizes;
  for (size_t i = 0; i < sweep.runs.size(); ++i) {
    // Each footprint builds the model; what is erased here doesn't change it, and a plan of large models
    // should not take minutes.
    nlohmann::json kind = sweep.runs[i].config;
    kind.erase("seed");
    kind.erase("start");
    kind["method"].erase("lambda");
    kind["method"].erase("bits");
    const auto [known, is_new] = sizes.try_emplace(kind.dump());
    RunFootprint& size = known->second;
    if (is_new) size = footprint(sweep.runs[i].spec, loaded.shapes[i]);
    details.push_back({size.parameters, size.size_fp32_mb, size.memory_mb,
                       out.empty() ? "" : state_word(folder.states[i])});
  }
  std::printf("%s", plan_text(sweep, details).c_str());
  for (const std::string& warning : warnings) std::fprintf(stderr, "diffq: warning: %s\n", warning.c_str());
  return 0;
}

int status_command(const std::string& folder) {
  const auto path = std::filesystem::path(folder) / "journal.jsonl";
  if (!std::filesystem::exists(path)) {
    throw std::invalid_argument(folder + ": holds no journal.jsonl; give the --out folder of a sweep");
  }
  size_t runs = 0;
  std::string sweep, since;
  std::map<std::string, std::string> running;
  std::map<std::string, nlohmann::json> ended;
  for (const auto& event : read_journal(path)) {
    const std::string kind = event.value("event", ""), id = event.value("run_id", "");
    if (kind == "sweep_started") {
      sweep = event.value("sweep", "");
      runs = event.value("runs", size_t{0});
      since = event.value("time", "");
      running.clear();
    } else if (kind == "sweep_ended") {
      running.clear();
    } else if (kind == "run_started") {
      running[id] = event.value("time", "");
      ended.erase(id);
    } else if (kind == "run_done" || kind == "run_failed") {
      running.erase(id);
      ended[id] = event;
    }
  }
  const size_t failed = static_cast<size_t>(std::count_if(
      ended.begin(), ended.end(), [](const auto& each) { return each.second["event"] == "run_failed"; }));
  std::printf("sweep %s: %zu runs, %zu done, %zu failed, %zu running; last started %s\n", sweep.c_str(), runs,
              ended.size() - failed, failed, running.size(), since.c_str());
  for (const auto& [id, time] : running) std::printf("running %s since %s\n", id.c_str(), time.c_str());
  for (const auto& [id, event] : ended) {
    if (event["event"] == "run_failed")
      std::printf("failed  %s %s\n", id.c_str(), event.value("reason", "").c_str());
  }
  return 0;
}

int report_command(const ReportOptions& options) {
  ResultFile all;
  std::set<std::string> seen;
  for (const std::string& folder : options.folders) {
    const auto path = std::filesystem::path(folder) / "results.h5";
    if (!std::filesystem::exists(path)) {
      throw std::invalid_argument(folder +
                                  ": holds no results.h5; give the --out folder of a sweep that has run");
    }
    ResultFile file = read_results(path);
    if (all.sweep.empty()) {
      all.sweep = file.sweep;
      all.program_version = file.program_version;
      all.git_commit = file.git_commit;
    }
    std::set<std::string> added;
    for (RunRow& run : file.runs) {
      if (seen.count(run.run_id) == 0) added.insert(run.run_id);
    }
    const auto take = [&](auto& from, auto& to) {
      for (auto& row : from) {
        if (added.count(row.run_id) > 0) to.push_back(std::move(row));
      }
    };
    take(file.epochs, all.epochs);
    take(file.layers, all.layers);
    take(file.tracks, all.tracks);
    take(file.runs, all.runs);
    all.environment.insert(all.environment.end(), file.environment.begin(), file.environment.end());
    seen.insert(added.begin(), added.end());
  }
  const std::filesystem::path first = options.folders.front();
  const auto markdown =
      options.markdown.empty() ? first / "report.md" : std::filesystem::path(options.markdown);
  const auto csv = options.csv.empty() ? first / "results.csv" : std::filesystem::path(options.csv);
  replace_file(markdown, markdown_report(all));
  replace_file(csv, csv_report(all));
  std::printf("%s\nreport  %s\ntable   %s\n", comparison_table(all).c_str(), markdown.c_str(), csv.c_str());
  return 0;
}

}  // namespace diffq
