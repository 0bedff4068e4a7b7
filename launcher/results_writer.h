#pragma once
// Rebuilds results.h5, report.md and results.csv of a sweep while it runs, on a thread of its own so that the
// queue never waits for a disk: at most once a minute, and at the end, then with report.html. Before that the
// page is left to `diffq report --watch`.

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>

#include "launcher/sweep_state.h"
#include "results/report.h"

namespace diffq {

class ResultsWriter {
 public:
  /// Borrowed state; must outlive the writer.
  ResultsWriter(const SweepState& state, std::filesystem::path folder);
  ~ResultsWriter();  ///< stops the thread; does not write
  ResultsWriter(const ResultsWriter&) = delete;
  ResultsWriter& operator=(const ResultsWriter&) = delete;

  /// Stops the thread and writes a last time. Throws std::runtime_error naming the path.
  void finish();

 private:
  void stop();
  void rebuild_every_minute();

  const SweepState& state_;
  std::filesystem::path folder_;
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stopping_ = false;
  std::thread thread_;
};

/// Writes results.h5, report.md and results.csv into `folder`, each replaced as a whole.
void write_result_files(const std::filesystem::path& folder, const Report& report);

}  // namespace diffq
