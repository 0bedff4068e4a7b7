#pragma once
// .stem.mp4 files (MUSDB18): five streams of sound in one file. Decoded through FFmpeg's libraries.

#include <string>
#include <vector>

namespace diffq {

/// Writes the file's streams of sound, in order, as 16-bit WAV files; there must be as many as `outputs`.
/// Throws std::invalid_argument "FILE: …" when it can't be decoded, std::runtime_error when a WAV can't be
/// written.
void decode_streams(const std::string& path, const std::vector<std::string>& outputs);

}  // namespace diffq
