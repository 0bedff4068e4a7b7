#pragma once
// The commands that read and write files but train nothing, and never start MPI. Each returns the exit code.

#include <string>
#include <vector>

namespace diffq {

struct PlanOptions {
  std::string sweep_file;
  std::vector<std::string> overrides;
  std::string only, shard;  ///< as `run` takes them
  std::string out;          ///< an output folder, to show what is done there; or ""
};

/// Checks a sweep file and prints its runs, what depends on what, sizes, memory. `program`: as RankMemory
/// takes it.
int plan_command(const PlanOptions& options, const std::string& program);
/// Prints how far the sweep in `folder` is and whether it is being worked on; with `watch` again every few
/// seconds while it is.
int status_command(const std::string& folder, bool watch);

}  // namespace diffq
