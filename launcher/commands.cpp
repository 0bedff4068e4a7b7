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
#include "launcher/progress.h"
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

int plan_command(const PlanOptions& options, const std::string& program) {
  LoadedSweep loaded = load_sweep(options.sweep_file, options.overrides);
  const auto keep = [&](const std::vector<size_t>& runs) { loaded = part_of(std::move(loaded), runs); };
  if (!options.shard.empty()) keep(select_shard(loaded.sweep, options.shard));
  if (!options.only.empty()) keep(select_runs(loaded.sweep, options.only));
  const Sweep& sweep = loaded.sweep;
  FolderState folder;
  std::vector<std::string> warnings;
  if (!options.out.empty()) {
    check_folder(options.out, sweep);
    folder = read_folder(options.out, sweep, /*retry_failed=*/false, warnings);
  }
  tell(loaded.warnings);
  std::vector<PlanColumns> details;
  std::map<std::string, RunFootprint> sizes;
  RankMemory memory(program);
  bool memory_unknown = false;
  const bool terminal = isatty(STDERR_FILENO) != 0;
  auto told = std::chrono::steady_clock::now();
  for (size_t i = 0; i < sweep.runs.size(); ++i) {
    const auto now = std::chrono::steady_clock::now();
    if (terminal || now - told > kPlainPause) {
      std::fprintf(stderr, "%strying run %zu of %zu%s", terminal ? "\r\x1b[K" : "", i + 1, sweep.runs.size(),
                   terminal ? "" : "\n");
      told = now;
    }
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
                       options.out.empty() ? "" : state_word(folder.states[i])});
    memory_unknown |= !program.empty() && std::isnan(details.back().memory_mb);
  }
  if (terminal) std::fprintf(stderr, "\r\x1b[K");
  if (memory_unknown)
    warnings.push_back(
        "memory is left out where a few steps of training end badly here, or take more than is free");
  std::printf("%s", plan_text(sweep, details).c_str());
  tell(warnings);
  return 0;
}

namespace {

/// What the journal tells of the sweep's last start.
struct LastStart {
  std::string sweep, since;
  size_t runs = 0;
  size_t done = 0, failed = 0;                    ///< those of earlier starts too
  std::map<std::string, nlohmann::json> started;  ///< run id to its run_started
};

LastStart last_start(const std::vector<nlohmann::json>& events) {
  LastStart start;
  for (const auto& event : events) {
    const std::string kind = event.value("event", "");
    if (kind == "sweep_started") {
      start = {event.value("sweep", ""),
               event.value("time", ""),
               event.value("runs", size_t{0}),
               event.value("done", start.done),
               event.value("failed", start.failed),
               {}};
    } else if (kind == "run_started") {
      start.started[event.value("run_id", "")] = event;
    } else if (kind == "run_done" || kind == "run_failed") {
      ++(kind == "run_done" ? start.done : start.failed);
    }
  }
  return start;
}

/// One look at the folder. Returns whether somebody works in it.
bool print_status(const std::filesystem::path& folder) {
  const auto events = read_journal(folder / "journal.jsonl");
  const LastStart start = last_start(events);
  const auto& last = events.empty() ? nlohmann::json::object() : events.back();
  const bool ended = last.value("event", "") == "sweep_ended" &&
                     last.value("unfinished", last.value("pending", size_t{0})) == 0;
  const auto owner = lock_owner(folder);
  const bool works = owner && owner->alive();
  ProgressFile progress = works ? read_progress(folder) : ProgressFile{};
  if (works && progress.time < owner->since) progress = {};  // of a start before
  std::string running, failed;
  size_t running_count = 0;
  for (const auto& [id, history] : read_histories(events)) {
    if (history.ended && (*history.ended)["event"] == "run_failed")
      failed += "failed  " + id + " " + history.ended->value("reason", "") + "\n";
    if (!history.started) continue;
    const auto now = start.started.find(id);
    const bool runs = works && now != start.started.end();
    running_count += runs;
    running += (runs ? "running " : "stopped ") + id;
    if (now != start.started.end()) {
      const std::string title = now->second.value("title", "");
      running += (title.empty() ? "" : " " + title + ",") + " since " + now->second.value("time", "");
    }
    if (const auto at = progress.running.find(id); at != progress.running.end())
      running += ", " + text_of(at->second);
    running += checkpoint_text(folder, id) + "\n";
  }
  const size_t known = start.done + start.failed + running_count;
  std::printf("sweep %s: %zu runs, %zu done, %zu failed, %zu running, %zu to run; last started %s\n",
              start.sweep.c_str(), start.runs, start.done, start.failed, running_count,
              start.runs > known ? start.runs - known : 0, start.since.c_str());
  if (works) {
    const std::string left = text_of(progress.left);
    std::printf("worked on by %s%s\n", owner->text().c_str(), left.empty() ? "" : ("; " + left).c_str());
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
