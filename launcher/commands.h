#pragma once
// The commands that read and write files but train nothing, and never start MPI. Each returns the exit code.

#include <string>
#include <vector>

namespace diffq {

/// Checks a sweep file and prints its runs, what depends on what, sizes, memory; with `out` also what is done
/// already. `program`: as RankMemory takes it.
int plan_command(const std::string& sweep_file, const std::vector<std::string>& overrides,
                 const std::string& out, const std::string& program);
/// Prints how far the sweep in `folder` is and whether it is being worked on; with `watch` again every few
/// seconds while it is.
int status_command(const std::string& folder, bool watch);

}  // namespace diffq
