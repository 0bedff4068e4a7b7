#pragma once
// The HDF5 files: result.h5 of one run and results.h5 of a sweep, the same layout (docs: README "Results").
// Files are written under a temporary name, synced and renamed, so that a reader or a kill never sees half of
// one. Behind what HDF5 reads they end in a line with a CRC-32 of everything before it, by which read_results
// knows a damaged file.

#include <filesystem>
#include <string>
#include <vector>

#include "results/records.h"

namespace diffq {

/// Version 2 added /sweeps. Files of version 1 are read, without what they lack.
inline constexpr int kSchemaVersion = 2;
inline constexpr int kOldestSchemaVersion = 1;

struct ResultFile {
  std::string sweep;
  std::string program_version, git_commit;
  std::vector<RunRow> runs;
  std::vector<EpochRow> epochs;
  std::vector<LayerRow> layers;
  std::vector<TrackRow> tracks;  ///< empty where a file, written before there were any, has no such table
  std::vector<EnvironmentRow> environment;
  std::vector<SweepRow> sweeps;  ///< in results.h5 of a sweep; none in a run's own file
};

/// Replaces `path` by a file with these tables. Throws std::runtime_error naming the path. Safe to call from
/// several threads (the serial HDF5 library is not: calls take turns).
void write_results(const std::filesystem::path& path, const ResultFile& content);
/// Reads a file of this schema or an older one. Throws std::runtime_error naming the path and what is missing
/// or damaged.
ResultFile read_results(const std::filesystem::path& path);

/// Of the HDF5 library in use: "1.10.8".
std::string hdf5_version();

}  // namespace diffq
