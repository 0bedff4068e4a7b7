#pragma once
// diffq separate: a track of music into its stems, by a packed model.

#include <string>

namespace diffq {

/// Writes drums.wav, bass.wav, other.wav and vocals.wav, of the input's rate and length and the model's
/// channels, into the folder `out`. Returns the exit code; wrong arguments are thrown as
/// std::invalid_argument.
int separate_command(const std::string& file, const std::string& input, const std::string& out);

}  // namespace diffq
