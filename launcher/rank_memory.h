#pragma once
// Memory that a rank of a run will take on the CPU, found by trying: processes of their own train for a few
// steps with a growing share of the run's batch sizes, as long as that is quick, and the line through the
// last two is followed to the whole.

#include <map>
#include <string>

#include "sweeps/sweep.h"

namespace diffq {

class RankMemory {
 public:
  /// `program`: diffq itself, to be started with `dry-run`; "": memory is not measured.
  explicit RankMemory(std::string program) : program_(std::move(program)) {}

  /// Peak resident MB (2^20 bytes) of a rank: what peak_memory_mb in results.h5 will be. NaN when a try ends
  /// badly (there is not enough memory here) or is not made. What runs have in common is tried once.
  double mb(const Run& run, int ranks);

 private:
  struct Peaks {
    double whole_mb = 0;                   ///< with the whole batches
    double least_share = 0, least_mb = 0;  ///< of the try that methods are told apart by
  };

  std::string program_;
  std::map<std::string, Peaks> kinds_;  ///< by what decides memory but for the method; of the first one tried
  std::map<std::string, double> least_mb_;  ///< of every kind and method
};

/// What such a process does: one dry run of `request`, JSON of "config", "ranks", "share" and "with_track";
/// prints the peak.
int dry_run_command(const std::string& request);

}  // namespace diffq
