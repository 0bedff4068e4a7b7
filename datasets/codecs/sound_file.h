#pragma once
// Sound files through libsndfile: parts of them as float32 [channels, frames] in −1 … 1, and stems as WAV.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace diffq {

struct SoundInfo {
  int64_t channels = 0;
  int64_t rate = 0;  ///< frames a second
  int64_t frames = 0;
};

/// From the header. Throws std::invalid_argument "FILE: …" when it can't be read.
SoundInfo sound_info(const std::string& path);

/// Frames [begin, begin + count), which must lie in the file, [channels, count]. Throws std::runtime_error
/// "FILE: …" when they can't be read or hold what is no number.
at::Tensor read_sound(const std::string& path, int64_t begin, int64_t count);

/// 16-bit WAV of float32 [channels, frames]; what is louder than 1 is cut off. Throws std::runtime_error.
void write_sound(const std::string& path, const at::Tensor& sound, int64_t rate);

}  // namespace diffq
