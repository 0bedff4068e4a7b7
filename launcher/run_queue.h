#pragma once
// Which run is next: the sweep's runs with what they start from, and what has become of each. Of a front, the
// run for its largest gap. No MPI, no files; the queue service asks it.

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "results/records.h"
#include "sweeps/front.h"
#include "sweeps/sweep.h"

namespace diffq {

enum class RunState { pending, running, done, failed };

class RunQueue {
 public:
  /// `states`: of each run, from earlier starts (running counts as pending). `selected`: the runs to hand
  /// out.
  /// `sizes_mb`: of the runs that are done, where they are known.
  RunQueue(const Sweep& sweep, std::vector<RunState> states, const std::vector<size_t>& selected,
           std::vector<double> sizes_mb = {});

  /// The next run whose start is done, now marked running; nothing if none is ready at this moment.
  std::optional<size_t> next();
  /// What the run that was handed out last is to fill, when it is of a front.
  const std::optional<Gap>& gap() const { return gap_; }
  /// No run is left that could be handed out, now or later.
  bool exhausted() const;

  /// Hands out nothing more: what is not finished is for a later start.
  void stop() { stopped_ = true; }
  void finish(size_t run, double size_mb = kNotApplicable);
  /// The run was left unfinished, and is pending again.
  void put_back(size_t run) { states_[run] = RunState::pending; }
  /// Marks the run failed, and with it every run that waits for it. Returns those with their reasons, `run`
  /// first.
  std::vector<std::pair<size_t, std::string>> fail(size_t run, const std::string& reason);
  /// The same for what an earlier start left: marks the runs failed that wait for a failed one, and returns
  /// them.
  std::vector<std::pair<size_t, std::string>> fail_waiting();

  RunState state(size_t run) const { return states_[run]; }
  size_t count(RunState state) const;
  /// Selected runs that are neither done nor failed.
  size_t unfinished() const;
  /// Selected runs that are pending, in order.
  std::vector<size_t> waiting() const;
  size_t size() const { return states_.size(); }

 private:
  bool ready(size_t run) const;
  size_t choose(const std::string& front);

  const Sweep& sweep_;
  std::vector<RunState> states_;
  std::vector<bool> selected_;
  std::vector<double> sizes_mb_;  ///< NaN where unknown
  std::optional<Gap> gap_;
  bool stopped_ = false;
};

}  // namespace diffq
