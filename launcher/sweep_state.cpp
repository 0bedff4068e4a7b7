#include "launcher/sweep_state.h"

#include <map>

#include "launcher/load_sweep.h"
#include "launcher/version.h"
#include "trainer/task.h"

namespace diffq {
namespace {

template <typename Table, typename Value>
std::string word_of(const Table& table, Value value) {
  for (const auto& [word, each] : table) {
    if (each == value) return std::string(word);
  }
  return "";
}

// The fp32 run's metric belongs into every row of the same entry of "benchmarks" and seed. `rows`: one a run.
void fill_fp32_metrics(const Sweep& sweep, std::vector<RunRow>& rows) {
  std::map<std::pair<std::string, int64_t>, double> metrics;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].method == "fp32" && rows[i].status == "done")
      metrics.emplace(std::pair(benchmark_of(sweep.runs[i]), rows[i].seed), rows[i].metric);
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto found = metrics.find({benchmark_of(sweep.runs[i]), rows[i].seed});
    if (found != metrics.end()) rows[i].metric_fp32 = found->second;
  }
}

}  // namespace

RunRow planned_row(const Run& run, int ranks) {
  RunRow row;
  row.run_id = run.run_id;
  const BenchmarkName benchmark = benchmark_name(run.spec.data.name);
  const Metric metric = metric_of(benchmark);
  row.benchmark = word_of(kBenchmarkNames, benchmark);
  row.dataset = word_of(kDataNames, run.spec.data.name);
  row.model = word_of(kModelNames, run.spec.model.name);
  row.method = word_of(kMethodNames, run.spec.method.method);
  if (run.spec.method.method == Method::diffq) {
    row.lambda = run.spec.method.lambda;
    row.group_size = static_cast<double>(run.spec.method.group_size);
  } else if (run.spec.method.method != Method::fp32) {
    row.bits = run.spec.method.bits;
  }
  row.seed = static_cast<int64_t>(run.spec.seed);
  row.ranks = ranks;
  row.metric_name = metric.name;
  row.higher_is_better = metric.higher_is_better;
  row.epochs = run.spec.train.epochs;
  row.program_version = program_version();
  row.git_commit = git_commit();
  row.config_json = run.config.dump();
  return row;
}

FolderState read_folder(const std::filesystem::path& folder, const Sweep& sweep, bool retry_failed,
                        std::vector<std::string>& warnings) {
  std::map<std::string, nlohmann::json> last;
  for (auto& event : read_journal(folder / "journal.jsonl")) {
    const std::string kind = event.value("event", ""), id = event.value("run_id", "");
    if (kind == "run_done" || kind == "run_failed") last[id] = std::move(event);
  }
  FolderState state;
  for (const Run& run : sweep.runs) {
    RunRecord record;
    record.run = planned_row(run, sweep.ranks_per_run);
    RunState became = RunState::pending;
    const auto found = last.find(run.run_id);
    if (found != last.end() && found->second["event"] == "run_done") {
      const auto path = folder / "runs" / run.run_id / "result.h5";
      try {
        ResultFile file = read_results(path);
        if (file.runs.size() != 1) throw std::runtime_error(path.string() + ": holds no run");
        record = {std::move(file.runs[0]), std::move(file.epochs), std::move(file.layers),
                  std::move(file.tracks)};
        became = RunState::done;
      } catch (const std::exception& error) {
        warnings.push_back(std::string(error.what()) + "; the run is done again");
      }
    } else if (found != last.end() && !retry_failed) {
      became = RunState::failed;
      record.run.status = "failed";
      record.run.reason = found->second.value("reason", "");
    }
    state.states.push_back(became);
    state.records.push_back(std::move(record));
  }
  return state;
}

SweepState::SweepState(const Sweep& sweep, FolderState folder, const std::vector<size_t>& selected,
                       const std::filesystem::path& path, std::vector<EnvironmentRow> environment)
    : sweep_(sweep),
      queue_(sweep, std::move(folder.states), selected),
      records_(std::move(folder.records)),
      journal_(path / "journal.jsonl"),
      environment_(std::move(environment)) {
  journal_.append({{"event", "sweep_started"},
                   {"sweep", sweep.name},
                   {"program_version", program_version()},
                   {"git_commit", git_commit()},
                   {"runs", sweep.runs.size()},
                   {"ranks", environment_.size()},
                   {"host", environment_.empty() ? "" : environment_.front().host}});
  // Runs that are new in the sweep, or whose failure a kill kept out of the journal.
  record_failures(queue_.fail_waiting());
}

std::optional<size_t> SweepState::next(int group) {
  const std::lock_guard lock(mutex_);
  const auto run = queue_.next();
  if (run) {
    records_[*run].epochs.clear();
    journal_.append({{"event", "run_started"}, {"run_id", sweep_.runs[*run].run_id}, {"group", group}});
  }
  return run;
}

bool SweepState::exhausted() const {
  const std::lock_guard lock(mutex_);
  return queue_.exhausted();
}

void SweepState::epoch(size_t run, const EpochRow& row) {
  const std::lock_guard lock(mutex_);
  records_[run].epochs.push_back(row);
}

void SweepState::done(size_t run, const RunRecord& record) {
  const std::lock_guard lock(mutex_);
  queue_.finish(run);
  records_[run] = record;
  journal_.append({{"event", "run_done"},
                   {"run_id", record.run.run_id},
                   {"metric", record.run.metric},
                   {"size_mb", record.run.size_mb},
                   {"train_seconds", record.run.train_seconds}});
}

void SweepState::failed(size_t run, const std::string& reason) {
  const std::lock_guard lock(mutex_);
  record_failures(queue_.fail(run, reason));
}

void SweepState::record_failures(const std::vector<std::pair<size_t, std::string>>& failures) {
  for (const auto& [each, why] : failures) {
    records_[each].run.status = "failed";
    records_[each].run.reason = why;
    journal_.append({{"event", "run_failed"}, {"run_id", sweep_.runs[each].run_id}, {"reason", why}});
  }
}

void SweepState::sweep_ended() {
  const std::lock_guard lock(mutex_);
  journal_.append({{"event", "sweep_ended"},
                   {"done", queue_.count(RunState::done)},
                   {"failed", queue_.count(RunState::failed)},
                   {"pending", queue_.count(RunState::pending)}});
}

size_t SweepState::count(RunState state) const {
  const std::lock_guard lock(mutex_);
  return queue_.count(state);
}

ResultFile SweepState::results() const {
  ResultFile file;
  file.sweep = sweep_.name;
  file.program_version = program_version();
  file.git_commit = git_commit();
  file.environment = environment_;
  const std::lock_guard lock(mutex_);
  for (const RunRecord& record : records_) {
    file.runs.push_back(record.run);
    file.epochs.insert(file.epochs.end(), record.epochs.begin(), record.epochs.end());
    file.layers.insert(file.layers.end(), record.layers.begin(), record.layers.end());
    file.tracks.insert(file.tracks.end(), record.tracks.begin(), record.tracks.end());
  }
  fill_fp32_metrics(sweep_, file.runs);
  return file;
}

}  // namespace diffq
