#pragma once
// Everything that world rank 0 knows of a running sweep: what became of each run, the rows of the result
// tables, the journal. Only the queue service's thread changes it; the thread that rebuilds results.h5 and
// the progress line read it.

#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "launcher/journal.h"
#include "launcher/run_history.h"
#include "launcher/run_queue.h"
#include "results/tables.h"
#include "sweeps/sweep.h"

namespace diffq {

/// What earlier starts left in an output folder, per run of this sweep.
struct FolderState {
  std::vector<RunState> states;
  std::vector<RunRecord> records;  ///< of done runs: read from their results; of the others: what is known
  std::vector<RunHistory> histories;
};

/// The row of a run before anything is known of its outcome.
RunRow planned_row(const Run& run, int ranks);

/// "mnist small_cnn qat 4 bits seed 1"
std::string run_title(const Run& run);

/// Reads the journal and the finished runs' results: from results.h5 where it has them and the run's own file
/// still has its size, else from that. A finished run whose result.h5 can't be read counts as pending, and a
/// line about it goes to `warnings`; one whose end a kill kept out of the journal counts as done. With
/// retry_failed, failed runs are pending again. Changes nothing.
FolderState read_folder(const std::filesystem::path& folder, const Sweep& sweep, bool retry_failed,
                        std::vector<std::string>& warnings);

class SweepState {
 public:
  SweepState(const Sweep& sweep, FolderState folder, const std::vector<size_t>& selected,
             const std::filesystem::path& path, std::vector<EnvironmentRow> environment, int max_starts = 20);

  /// The next run for a group: nothing now (another may come), or none ever again.
  std::optional<size_t> next(int group);
  bool exhausted() const;

  void epoch(size_t run, const EpochRow& row);
  /// `files`: sums_of_run of its folder.
  void done(size_t run, const RunRecord& record, const nlohmann::json& files);
  void failed(size_t run, const std::string& reason);
  /// Left for a later start, with a checkpoint.
  void stopped(size_t run);
  /// From now on nothing is handed out.
  void stop(const std::string& reason);
  void sweep_ended();
  /// What was told until now is on disk when this returns. Nobody is answered before that.
  void sync();

  size_t count(RunState state) const;
  size_t unfinished() const;            ///< of the selected runs
  std::vector<size_t> waiting() const;  ///< selected runs that are pending, in order
  const Sweep& sweep() const { return sweep_; }
  const std::filesystem::path& folder() const { return path_; }
  /// Of a run that is done, of all its starts; else NaN.
  double train_seconds(size_t run) const;
  size_t size() const { return sweep_.runs.size(); }
  const Run& run(size_t index) const { return sweep_.runs[index]; }
  /// Grows with every epoch and every run that ends: whether results() has changed.
  size_t changes() const;
  /// Of all runs as they stand, with each run's fp32 metric filled in.
  ResultFile results() const;

 private:
  struct StartCounts {
    size_t done = 0, failed = 0;
  };
  StartCounts count_at_start() const;
  void look_back(const std::vector<size_t>& selected, int max_starts);
  int64_t newest_checkpoint(size_t run) const;  ///< its step, or 0
  std::filesystem::path run_folder(size_t run) const { return path_ / "runs" / sweep_.runs[run].run_id; }
  void record_done(size_t run, const nlohmann::json& files);
  void record_failures(const std::vector<std::pair<size_t, std::string>>& failures);

  const Sweep& sweep_;
  std::filesystem::path path_;
  mutable std::mutex mutex_;
  RunQueue queue_;
  std::vector<std::shared_ptr<const RunRecord>> records_;  ///< shared with results() at work
  size_t changes_ = 0;
  std::vector<RunHistory> histories_;
  Journal journal_;
  std::vector<EnvironmentRow> environment_;
};

}  // namespace diffq
