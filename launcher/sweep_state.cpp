#include "launcher/sweep_state.h"

#include <map>

#include "launcher/version.h"
#include "sweeps/plan.h"
#include "trainer/checkpoint.h"
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
    row.lambda = lambda_of(run.spec.method).value_or(kNotApplicable);
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

std::string run_title(const Run& run) {
  const RunRow row = planned_row(run, 1);
  const std::string setting = strength(run.spec.method);
  return row.dataset + " " + row.model + " " + row.method + (setting.empty() ? "" : " " + setting) +
         " seed " + std::to_string(row.seed);
}

namespace {

// Reads what the runs of a folder have measured, from as few files as will do.
class ResultsOnDisk {
 public:
  explicit ResultsOnDisk(std::filesystem::path folder) : folder_(std::move(folder)) {
    try {
      ResultFile all = read_results(folder_ / "results.h5");
      for (EpochRow& row : all.epochs) merged_[row.run_id].epochs.push_back(std::move(row));
      for (LayerRow& row : all.layers) merged_[row.run_id].layers.push_back(std::move(row));
      for (TrackRow& row : all.tracks) merged_[row.run_id].tracks.push_back(std::move(row));
      for (RunRow& row : all.runs) {
        row.metric_fp32 = kNotApplicable;
        merged_[row.run_id].run = std::move(row);
      }
    } catch (const std::exception&) {
      merged_.clear();  // missing or damaged: it is rebuilt from the runs' own files
    }
  }

  /// Throws when it can't be read.
  RunRecord record(const std::string& run_id, const RunHistory& history) {
    const auto path = folder_ / "runs" / run_id / "result.h5";
    const auto found = merged_.find(run_id);
    if (found != merged_.end() && agrees(found->second.run, history, path)) return std::move(found->second);
    ResultFile file = read_results(path);
    if (file.runs.size() != 1 || file.runs[0].run_id != run_id || file.runs[0].status != "done")
      throw std::runtime_error(path.string() + ": is not the result of the finished run " + run_id);
    return {std::move(file.runs[0]), std::move(file.epochs), std::move(file.layers), std::move(file.tracks)};
  }

 private:
  static bool agrees(const RunRow& row, const RunHistory& history, const std::filesystem::path& path) {
    const auto files = history.files();
    const auto own = files.find("result.h5");
    std::error_code missing;
    return row.status == "done" && own != files.end() &&
           static_cast<int64_t>(std::filesystem::file_size(path, missing)) == own->second.bytes && !missing &&
           history.ended->value("train_seconds", 0.0) == row.train_seconds;
  }

  std::filesystem::path folder_;
  std::map<std::string, RunRecord> merged_;
};

/// Models of finished runs that are not there, or not of the size that the journal has. Somebody may have
/// removed them to have the space: the runs stay done.
class DamagedModels {
 public:
  void note(const std::filesystem::path& run_folder, const RunHistory& history) {
    const auto files = history.files();
    const auto model = files.find("model.safetensors");
    if (model == files.end()) return;
    std::error_code missing;
    const auto bytes = std::filesystem::file_size(run_folder / "model.safetensors", missing);
    if (!missing && static_cast<int64_t>(bytes) == model->second.bytes) return;
    if (count_++ == 0) first_ = run_folder;
  }
  void tell(std::vector<std::string>& warnings) const {
    if (count_ == 0) return;
    warnings.push_back("models of finished runs that are missing or damaged: " + std::to_string(count_) +
                       ", the first in " + first_.string() +
                       "; remove such a folder to have its run done again");
  }

 private:
  size_t count_ = 0;
  std::filesystem::path first_;
};

}  // namespace

FolderState read_folder(const std::filesystem::path& folder, const Sweep& sweep, bool retry_failed,
                        std::vector<std::string>& warnings) {
  auto histories = read_histories(read_journal(folder / "journal.jsonl"));
  FolderState state;
  std::optional<ResultsOnDisk> results;
  DamagedModels damaged_models;
  for (const Run& run : sweep.runs) {
    RunRecord record;
    record.run = planned_row(run, sweep.ranks_per_run);
    RunState became = RunState::pending;
    const RunHistory& history = histories[run.run_id];
    const bool done = history.ended && (*history.ended)["event"] == "run_done";
    if (done || (history.started && std::filesystem::exists(folder / "runs" / run.run_id / "result.h5"))) {
      if (!results) results.emplace(folder);
      try {
        record = results->record(run.run_id, history);
        became = RunState::done;
        damaged_models.note(folder / "runs" / run.run_id, history);
      } catch (const std::exception& error) {
        warnings.push_back(std::string(error.what()) + "; the run is done again");
      }
    } else if (history.ended && !retry_failed) {
      became = RunState::failed;
      record.run.status = "failed";
      record.run.reason = history.ended->value("reason", "");
    }
    state.states.push_back(became);
    state.records.push_back(std::move(record));
    state.histories.push_back(history);
  }
  damaged_models.tell(warnings);
  return state;
}

namespace {

std::vector<double> sizes_of(const std::vector<RunRecord>& records) {
  std::vector<double> sizes;
  for (const RunRecord& record : records) sizes.push_back(record.run.size_mb);
  return sizes;
}

}  // namespace

SweepState::SweepState(const Sweep& sweep, FolderState folder, const std::vector<size_t>& selected,
                       const std::filesystem::path& path, std::vector<EnvironmentRow> environment,
                       int max_starts)
    : sweep_(sweep),
      path_(path),
      queue_(sweep, std::move(folder.states), selected, sizes_of(folder.records)),
      histories_(std::move(folder.histories)),
      journal_(path / "journal.jsonl"),
      environment_(std::move(environment)) {
  for (RunRecord& record : folder.records)
    records_.push_back(std::make_shared<const RunRecord>(std::move(record)));
  const StartCounts counts = count_at_start();
  journal_.append({{"event", "sweep_started"},
                   {"sweep", sweep.name},
                   {"program_version", program_version()},
                   {"git_commit", git_commit()},
                   {"runs", sweep.runs.size()},
                   {"done", counts.done},
                   {"failed", counts.failed},
                   {"ranks", environment_.size()},
                   {"host", environment_.empty() ? "" : environment_.front().host}});
  look_back(selected, max_starts);
  // Runs that are new in the sweep, or whose failure a kill kept out of the journal.
  record_failures(queue_.fail_waiting());
  journal_.sync();
}

/// Runs that look_back finds finished are told of after the start.
SweepState::StartCounts SweepState::count_at_start() const {
  const auto is = [&](size_t run, RunState state) {
    return queue_.state(run) == state && !(state == RunState::done && histories_[run].started);
  };
  StartCounts counts;
  for (size_t run = 0; run < histories_.size(); ++run) {
    counts.done += is(run, RunState::done);
    counts.failed += is(run, RunState::failed);
  }
  return counts;
}

/// What the last start could not write down any more: runs that it finished, runs that took it down.
void SweepState::look_back(const std::vector<size_t>& selected, int max_starts) {
  for (size_t run = 0; run < histories_.size(); ++run) {
    RunHistory& history = histories_[run];
    if (!history.started) continue;
    if (queue_.state(run) == RunState::done) {
      record_done(run, sums_of_run(run_folder(run)));
      remove_checkpoints(run_folder(run));
      continue;
    }
    if (const auto crash = read_crash(run_folder(run))) {
      ++history.crashes;
      history.last_crash = *crash;
      journal_.append({{"event", "run_crashed"}, {"run_id", sweep_.runs[run].run_id}, {"reason", *crash}});
      std::error_code ignored;
      std::filesystem::remove(run_folder(run) / "crash", ignored);
    }
  }
  for (const size_t run : selected) {
    if (queue_.state(run) != RunState::pending || !histories_[run].started) continue;
    const std::string reason = histories_[run].quarantine(newest_checkpoint(run), max_starts);
    if (!reason.empty()) record_failures(queue_.fail(run, reason));
  }
}

int64_t SweepState::newest_checkpoint(size_t run) const {
  const auto files = list_checkpoints(run_folder(run));
  return files.empty() ? 0 : files.front().step;
}

std::optional<size_t> SweepState::next(int group) {
  const std::lock_guard lock(mutex_);
  const auto run = queue_.next();
  if (run) {
    RunRecord record = *records_[*run];
    record.epochs.clear();
    records_[*run] = std::make_shared<const RunRecord>(std::move(record));
    nlohmann::json event{{"event", "run_started"},
                         {"run_id", sweep_.runs[*run].run_id},
                         {"title", run_title(sweep_.runs[*run])},
                         {"group", group},
                         {"step", newest_checkpoint(*run)}};
    if (const auto& gap = queue_.gap()) {
      event["target_mb"] = sweep_.runs[*run].spec.method.target_mb;
      event["gap_mb"] = {gap->low_mb, gap->high_mb};  // null: without end
    }
    journal_.append(event);
  }
  return run;
}

bool SweepState::exhausted() const {
  const std::lock_guard lock(mutex_);
  return queue_.exhausted();
}

void SweepState::epoch(size_t run, const EpochRow& row) {
  const std::lock_guard lock(mutex_);
  RunRecord record = *records_[run];
  record.epochs.push_back(row);
  records_[run] = std::make_shared<const RunRecord>(std::move(record));
  ++changes_;
}

void SweepState::done(size_t run, const RunRecord& record, const nlohmann::json& files) {
  const std::lock_guard lock(mutex_);
  queue_.finish(run, record.run.size_mb);
  records_[run] = std::make_shared<const RunRecord>(record);
  ++changes_;
  record_done(run, files);
}

void SweepState::record_done(size_t run, const nlohmann::json& files) {
  const RunRow& row = records_[run]->run;
  journal_.append({{"event", "run_done"},
                   {"run_id", row.run_id},
                   {"metric", row.metric},
                   {"size_mb", row.size_mb},
                   {"train_seconds", row.train_seconds},
                   {"files", files}});
}

void SweepState::failed(size_t run, const std::string& reason) {
  const std::lock_guard lock(mutex_);
  record_failures(queue_.fail(run, reason));
}

void SweepState::stopped(size_t run) {
  const std::lock_guard lock(mutex_);
  queue_.put_back(run);
  journal_.append({{"event", "run_stopped"}, {"run_id", sweep_.runs[run].run_id}});
}

void SweepState::stop(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  queue_.stop();
  journal_.append({{"event", "sweep_stopping"}, {"reason", reason}});
}

void SweepState::record_failures(const std::vector<std::pair<size_t, std::string>>& failures) {
  for (const auto& [each, why] : failures) {
    RunRecord record = *records_[each];
    record.run.status = "failed";
    record.run.reason = why;
    records_[each] = std::make_shared<const RunRecord>(std::move(record));
    ++changes_;
    journal_.append({{"event", "run_failed"}, {"run_id", sweep_.runs[each].run_id}, {"reason", why}});
  }
}

void SweepState::sweep_ended() {
  const std::lock_guard lock(mutex_);
  journal_.append({{"event", "sweep_ended"},
                   {"done", queue_.count(RunState::done)},
                   {"failed", queue_.count(RunState::failed)},
                   {"pending", queue_.count(RunState::pending)},
                   {"unfinished", queue_.unfinished()}});
  journal_.sync();
}

void SweepState::sync() {
  const std::lock_guard lock(mutex_);
  journal_.sync();
}

size_t SweepState::unfinished() const {
  const std::lock_guard lock(mutex_);
  return queue_.unfinished();
}

std::vector<size_t> SweepState::waiting() const {
  const std::lock_guard lock(mutex_);
  return queue_.waiting();
}

double SweepState::train_seconds(size_t run) const {
  const std::lock_guard lock(mutex_);
  return records_[run]->run.train_seconds;
}

size_t SweepState::count(RunState state) const {
  const std::lock_guard lock(mutex_);
  return queue_.count(state);
}

size_t SweepState::changes() const {
  const std::lock_guard lock(mutex_);
  return changes_;
}

ResultFile SweepState::results() const {
  ResultFile file;
  file.sweep = sweep_.name;
  file.program_version = program_version();
  file.git_commit = git_commit();
  file.environment = environment_;
  file.sweeps = {{sweep_.name, program_version(), git_commit(), sweep_.resolved.dump(2)}};
  std::vector<std::shared_ptr<const RunRecord>> records;
  {
    // The queue does not wait for the copying of all rows.
    const std::lock_guard lock(mutex_);
    records = records_;
  }
  for (const auto& record : records) {
    file.runs.push_back(record->run);
    file.epochs.insert(file.epochs.end(), record->epochs.begin(), record->epochs.end());
    file.layers.insert(file.layers.end(), record->layers.begin(), record->layers.end());
    file.tracks.insert(file.tracks.end(), record->tracks.begin(), record->tracks.end());
  }
  fill_fp32_metrics(sweep_, file.runs);
  return file;
}

}  // namespace diffq
