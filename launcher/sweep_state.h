#pragma once
// Everything that world rank 0 knows of a running sweep: what became of each run, the rows of the result
// tables, the journal. Only the queue service's thread changes it; the thread that rebuilds results.h5 and
// the progress line read it.

#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "launcher/journal.h"
#include "launcher/run_queue.h"
#include "results/tables.h"
#include "sweeps/sweep.h"

namespace diffq {

/// What earlier starts left in an output folder, per run of this sweep.
struct FolderState {
  std::vector<RunState> states;
  std::vector<RunRecord> records;  ///< of done runs: read from their result.h5; of the others: what is known
};

/// The row of a run before anything is known of its outcome.
RunRow planned_row(const Run& run, int ranks);

/// Reads the journal and the finished runs' results. A finished run whose result.h5 can't be read counts as
/// pending, and a line about it goes to `warnings`. With retry_failed, failed runs are pending again.
FolderState read_folder(const std::filesystem::path& folder, const Sweep& sweep, bool retry_failed,
                        std::vector<std::string>& warnings);

class SweepState {
 public:
  SweepState(const Sweep& sweep, FolderState folder, const std::vector<size_t>& selected,
             const std::filesystem::path& path, std::vector<EnvironmentRow> environment);

  /// The next run for a group: nothing now (another may come), or none ever again.
  std::optional<size_t> next(int group);
  bool exhausted() const;

  void epoch(size_t run, const EpochRow& row);
  void done(size_t run, const RunRecord& record);
  void failed(size_t run, const std::string& reason);
  void sweep_ended();

  size_t count(RunState state) const;
  size_t size() const { return sweep_.runs.size(); }
  const Run& run(size_t index) const { return sweep_.runs[index]; }
  /// Grows with every epoch and every run that ends: whether results() has changed.
  size_t changes() const;
  /// Of all runs as they stand, with each run's fp32 metric filled in.
  ResultFile results() const;

 private:
  void record_failures(const std::vector<std::pair<size_t, std::string>>& failures);

  const Sweep& sweep_;
  mutable std::mutex mutex_;
  RunQueue queue_;
  std::vector<RunRecord> records_;
  size_t changes_ = 0;
  Journal journal_;
  std::vector<EnvironmentRow> environment_;
};

}  // namespace diffq
