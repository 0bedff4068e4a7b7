#pragma once
// `diffq run`: the ranks of the world split into groups, and each group trains the next ready run until none
// is left.

#include <functional>
#include <string>
#include <vector>

#include "launcher/device_choice.h"
#include "trainer/train_run.h"

namespace diffq {

struct RunOptions {
  std::string sweep_file;
  std::string out;
  std::vector<std::string> overrides;             ///< --set
  std::string only;                               ///< --only
  std::string shard;                              ///< --shard i/N
  DeviceChoice device = DeviceChoice::automatic;  ///< --device
  int ranks_per_gpu = 1;                          ///< as many may share one
  int collective_deadline_seconds = 300;          ///< of each sum over a group on GPUs
  double max_minutes = 0;                         ///< then the sweep stops as by a signal; 0: never
  int host_deadline_seconds = 120;                ///< a host that gives no sign of life for so long is lost
  int max_starts = 20;                            ///< of a run without a new checkpoint, until it is given up
  bool retry_failed = false;
  bool quiet = false;
};

/// What trains a run; train_run, unless a test puts something else in its place.
using TrainFunction =
    std::function<RunRecord(const RunSpec&, const DataSplits&, Communicator&, const RunContext&)>;

/// Starts MPI, runs the sweep, stops MPI. Returns the exit code, the same on all ranks: 0 all done, 1 some
/// runs failed, 2 wrong input (told on stderr by rank 0), 75 stopped before the end (what is unfinished goes
/// on when the same command is given again). Throws on internal failure; the caller then aborts the job.
int run_sweep(const RunOptions& options, const TrainFunction& train = train_run);

}  // namespace diffq
