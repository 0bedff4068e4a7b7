#pragma once
// Progress of a sweep, told by world rank 0: on stderr one live line on a terminal, a plain line every so
// often elsewhere, and a line for each run that ends; for `diffq status` the output folder's progress.json.
// Used by the queue service's thread alone.

#include <chrono>
#include <filesystem>
#include <map>
#include <string>

#include "launcher/sweep_state.h"
#include "launcher/time_left.h"
#include "trainer/train_run.h"

namespace diffq {

/// Between signs of life where there is no terminal.
inline constexpr auto kPlainPause = std::chrono::seconds(15);

class Progress {
 public:
  /// `groups`: as many runs train at once.
  Progress(const SweepState& state, int groups, bool quiet);
  ~Progress();  ///< removes progress.json

  void started(int group, size_t run);
  void step(int group, size_t run, const RunProgress& progress);
  void done(int group, size_t run, const RunRow& row);
  void failed(int group, size_t run, const std::string& reason);
  void stopped(int group, size_t run);
  /// The whole sweep is being stopped.
  void stopping(const std::string& reason);
  /// Shows what has changed, if it is time to; cheap to call often.
  void refresh();

 private:
  using Clock = std::chrono::steady_clock;
  struct Active {
    size_t run = 0;
    RunProgress progress;
  };
  void print(const std::string& line);
  std::string counts() const;
  TimeEstimate time_left() const;
  void show_line();
  void write_file();

  const SweepState& state_;
  std::filesystem::path path_;
  bool quiet_, terminal_;
  TimeLeft time_left_;
  std::map<int, Active> active_;  ///< by group
  Clock::time_point shown_, written_;
  bool changed_ = false, stopping_ = false;
};

/// What progress.json says of a sweep at work.
struct ProgressFile {
  std::string time;  ///< UTC
  TimeEstimate left;
  std::map<std::string, RunProgress> running;  ///< by run id
};
/// Nothing where it can't be read.
ProgressFile read_progress(const std::filesystem::path& folder);

/// "epoch 2/10 step 5/100 loss 0.61"
std::string text_of(const RunProgress& progress);

}  // namespace diffq
