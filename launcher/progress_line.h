#pragma once
// Progress on stderr of world rank 0: one live line on a terminal, a plain line every so often elsewhere, and
// a line for each run that ends. Used by the queue service's thread alone.

#include <chrono>
#include <map>
#include <string>

#include "launcher/sweep_state.h"
#include "trainer/train_run.h"

namespace diffq {

class ProgressLine {
 public:
  ProgressLine(const SweepState& state, bool quiet);

  void step(int group, size_t run, const RunProgress& progress);
  void done(int group, size_t run, const RunRow& row);
  void failed(int group, size_t run, const std::string& reason);
  void stopped(int group, size_t run);
  void note(const std::string& text);
  /// Shows what has changed, if it is time to; cheap to call often.
  void refresh();

 private:
  struct Active {
    size_t run = 0;
    RunProgress progress;
  };
  void print(const std::string& line);
  std::string counts() const;

  const SweepState& state_;
  bool quiet_, terminal_;
  std::map<int, Active> active_;  ///< by group
  std::chrono::steady_clock::time_point shown_;
  bool changed_ = false;
};

}  // namespace diffq
