#pragma once
// diffq separate: a track of music into its stems, by a packed model.

#include <string>

#include "launcher/device_choice.h"

namespace diffq {

struct SeparateOptions {
  std::string model, input;  ///< a packed model; a track, of any rate
  std::string out;           ///< a folder
  DeviceChoice device = DeviceChoice::automatic;
};
/// Writes drums.wav, bass.wav, other.wav and vocals.wav, of the input's rate and length and the model's
/// channels. Returns the exit code; wrong arguments are thrown as std::invalid_argument.
int separate_command(const SeparateOptions& options);

}  // namespace diffq
