#include "launcher/commands.h"

#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <thread>

#include "launcher/folder_lock.h"
#include "launcher/load_sweep.h"
#include "launcher/rank_memory.h"
#include "launcher/sweep_state.h"
#include "sweeps/plan.h"
#include "trainer/checkpoint.h"
#include "trainer/footprint.h"

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

/// Where a run would go on.
std::string checkpoint_text(const std::filesystem::path& folder, const std::string& run_id) {
  const auto files = list_checkpoints(folder / "runs" / run_id);
  return files.empty() ? "" : ", checkpoint after step " + std::to_string(files.front().step);
}

}  // namespace

int plan_command(const std::string& sweep_file, const std::vector<std::string>& overrides,
                 const std::string& out, const std::string& program) {
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
  RankMemory memory(program);
  bool memory_unknown = false;
  const bool terminal = isatty(STDERR_FILENO) != 0;
  for (size_t i = 0; i < sweep.runs.size(); ++i) {
    if (terminal) std::fprintf(stderr, "\r\x1b[Ktrying run %zu of %zu", i + 1, sweep.runs.size());
    // Each footprint builds the model; what is erased here doesn't change it, and a plan of large models
    // should not take minutes.
    nlohmann::json kind = sweep.runs[i].config;
    kind.erase("seed");
    kind.erase("start");
    kind["method"].erase("lambda");
    kind["method"].erase("target_mb");
    const auto [known, is_new] = sizes.try_emplace(kind.dump());
    RunFootprint& size = known->second;
    if (is_new) size = footprint(sweep.runs[i].spec, loaded.data[i].shape);
    details.push_back({size.parameters, size.size_fp32_mb, size.start_size_mb, size.least_size_mb,
                       memory.mb(sweep.runs[i], sweep.ranks_per_run),
                       out.empty() ? "" : state_word(folder.states[i])});
    memory_unknown |= !program.empty() && std::isnan(details.back().memory_mb);
  }
  if (terminal) std::fprintf(stderr, "\r\x1b[K");
  if (memory_unknown)
    warnings.push_back(
        "memory is left out where a few steps of training end badly here, or take more than is free");
  std::printf("%s", plan_text(sweep, details).c_str());
  for (const std::string& warning : warnings) std::fprintf(stderr, "diffq: warning: %s\n", warning.c_str());
  return 0;
}

namespace {

/// One look at the folder. Returns whether somebody works in it.
bool print_status(const std::filesystem::path& folder) {
  size_t runs = 0;
  std::string sweep, since;
  std::map<std::string, std::string> started;
  const auto events = read_journal(folder / "journal.jsonl");
  for (const auto& event : events) {
    const std::string kind = event.value("event", "");
    if (kind == "run_started") started[event.value("run_id", "")] = event.value("time", "");
    if (kind != "sweep_started") continue;
    sweep = event.value("sweep", "");
    runs = event.value("runs", size_t{0});
    since = event.value("time", "");
    started.clear();  // what an earlier start began is not running now
  }
  const auto& last = events.empty() ? nlohmann::json::object() : events.back();
  const bool ended = last.value("event", "") == "sweep_ended" &&
                     last.value("unfinished", last.value("pending", size_t{0})) == 0;
  const auto owner = lock_owner(folder);
  const bool works = owner && owner->alive();
  size_t done = 0;
  std::string running, failed;
  size_t running_count = 0, failed_count = 0;
  for (const auto& [id, history] : read_histories(events)) {
    if (history.ended && (*history.ended)["event"] == "run_done") ++done;
    if (history.ended && (*history.ended)["event"] == "run_failed") {
      ++failed_count;
      failed += "failed  " + id + " " + history.ended->value("reason", "") + "\n";
    }
    if (!history.started) continue;
    const bool now = works && started.contains(id);
    running_count += now;
    running += (now ? "running " : "stopped ") + id +
               (started.contains(id) ? " since " + started.at(id) : "") + checkpoint_text(folder, id) + "\n";
  }
  std::printf("sweep %s: %zu runs, %zu done, %zu failed, %zu running; last started %s\n", sweep.c_str(), runs,
              done, failed_count, running_count, since.c_str());
  if (works) {
    std::printf("worked on by %s\n", owner->text().c_str());
  } else if (owner) {
    std::printf("stopped: %s is gone; the same command goes on\n", owner->text().c_str());
  } else if (!ended) {
    std::printf("stopped; the same command goes on\n");
  }
  std::printf("%s%s", running.c_str(), failed.c_str());
  std::fflush(stdout);
  return works;
}

}  // namespace

int status_command(const std::string& folder, bool watch) {
  if (!std::filesystem::exists(std::filesystem::path(folder) / "journal.jsonl")) {
    throw std::invalid_argument(folder + ": holds no journal.jsonl; give the --out folder of a sweep");
  }
  while (print_status(folder) && watch) std::this_thread::sleep_for(std::chrono::seconds(5));
  return 0;
}

}  // namespace diffq
