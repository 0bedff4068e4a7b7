#pragma once
// How long the rest of a sweep takes, by what its runs have taken so far. No MPI, no files; the clock is the
// caller's.

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sweeps/sweep.h"
#include "trainer/train_run.h"

namespace diffq {

struct TimeEstimate {
  double seconds = 0;
  size_t unknown_runs = 0;  ///< of which nothing is known yet: `seconds` is without them
};

/// "about 2 h 10 min left"; "" where there is nothing to say.
std::string text_of(const TimeEstimate& left);

class TimeLeft {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// `groups`: as many runs train at once. The sweep must outlive this.
  TimeLeft(const Sweep& sweep, int groups);

  /// What training a run took that an earlier start has finished; NaN: unknown. Counts until this start knows
  /// better.
  void earlier(size_t run, double train_seconds);
  void started(int group, size_t run, Time now);
  void step(int group, const RunProgress& progress, Time now);
  void done(int group, Time now);
  /// The run has failed or was stopped: it tells nothing.
  void dropped(int group) { active_.erase(group); }

  /// Until what runs now and `waiting`, the runs that no group has yet, are done.
  TimeEstimate estimate(const std::vector<size_t>& waiting, Time now) const;

 private:
  /// Seconds of a run.
  struct Cost {
    double whole = 0;
    double steps = 0;  ///< of these: from the first step to the last, the evaluations between them too
    double tail = 0;   ///< and after the last
  };
  struct Mean {
    Cost mean;
    int count = 0;
    void add(const Cost& cost);
  };
  /// On average. `kinds`: of runs that only strength and seed tell from each other. `entries`: of those of
  /// the same entry of "benchmarks"; whole and steps are those of one epoch.
  struct Costs {
    std::map<int, Mean> kinds, entries;
  };
  struct Active {
    size_t run = 0;
    Time began, first, last;  ///< first, last: of the steps heard of
    int64_t first_step = 0;   ///< of the run, from 1: more than 1 or 2 where it went on from a checkpoint
    double first_share = 0, share = 0;        ///< of the run's steps, at `first` and `last`
    std::optional<double> all_steps() const;  ///< seconds, at the pace so far
  };

  void add(Costs& costs, size_t run, const Cost& cost) const;
  /// Seconds by `here`, the costs of this start, else by those of earlier ones.
  std::optional<double> whole(const Costs& here, size_t run) const;
  double tail(size_t run) const;
  Costs known() const;
  std::optional<double> rest(const Active& active, const Costs& costs, Time now) const;

  const Sweep& sweep_;
  int groups_;
  std::vector<int> kind_, entry_;  ///< of each run
  std::map<int, Active> active_;   ///< by group
  Costs done_, earlier_;
};

}  // namespace diffq
