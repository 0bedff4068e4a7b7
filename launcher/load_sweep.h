#pragma once
// A sweep file checked against the world: data files present and whole, models that can take them, an output
// folder that is ours. `diffq plan` and `diffq run` share it.

#include <filesystem>
#include <string>
#include <vector>

#include "datasets/dataset.h"
#include "sweeps/sweep.h"

namespace diffq {

/// A sweep with what other ranks need to read it the same way without touching a file.
struct LoadedSweep {
  Sweep sweep;
  std::vector<DataSummary> data;      ///< of each run
  std::string text;                   ///< for read_broadcast_sweep
  std::vector<std::string> warnings;  ///< each once
};

/// Reads and checks everything the user wrote. Throws std::invalid_argument "WHERE: what is wrong; what would
/// be right".
LoadedSweep load_sweep(const std::string& path, const std::vector<std::string>& overrides);
/// With these of its runs alone, as part_of a sweep has it.
LoadedSweep part_of(LoadedSweep loaded, const std::vector<size_t>& runs);
/// Prints warnings, each a line on stderr.
void tell(const std::vector<std::string>& warnings);
/// The same sweep on another rank.
Sweep read_broadcast_sweep(const std::string& text);

/// Makes the output folder ready and writes sweep.json. Throws std::invalid_argument if it can't be written,
/// and as check_folder does.
void prepare_folder(const std::filesystem::path& folder, const Sweep& sweep);
/// Refuses a folder that belongs to a sweep of another name, and one of no sweep with files that a sweep
/// would overwrite. Changes nothing.
void check_folder(const std::filesystem::path& folder, const Sweep& sweep);

}  // namespace diffq
