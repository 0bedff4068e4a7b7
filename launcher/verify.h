#pragma once
// `diffq verify`: whether what a sweep wrote is whole and agrees with itself.

#include <string>

namespace diffq {

/// A single file (result.h5, results.h5, a model), or all of an output folder: journal, the files of every
/// finished run (by the sizes and sums that the journal has; with `deep` each is opened and compared with the
/// others), checkpoints, and results.h5. Prints every problem; returns the exit code, 0. Throws
/// std::invalid_argument when there is a problem.
int verify_command(const std::string& path, bool deep);

}  // namespace diffq
