#pragma once
// The way out when ranks are lost. Those that are left may wait for them in any call, in MPI_Abort too, so
// the process is ended from outside of all that.

#include <filesystem>
#include <string>

namespace diffq {

inline constexpr int kGoOn = 75;      ///< exit code, EX_TEMPFAIL: give the same command again
inline constexpr int kInternal = 70;  ///< exit code, EX_SOFTWARE

/// Prints `line` as an error, adds it to the file `record` (what a rank behind a cut prints reaches nobody),
/// and ends the job with `code`: by MPI_Abort, and this process for certain a few seconds later. From any
/// thread.
[[noreturn]] void leave(const std::string& line, const std::filesystem::path& record, int code);

}  // namespace diffq
