#pragma once
// Which tracks a folder of music holds, in the layout of MUSDB18-HQ: train/, test/ and, but for musdb,
// valid/; in them a folder a track with mixture.wav, drums.wav, bass.wav, other.wav, vocals.wav. MUSDB18's
// NAME.stem.mp4 files stand for such folders: they are decoded once, into .decoded/ beside them.

#include <string>
#include <vector>

#include "datasets/data_spec.h"

namespace diffq {

inline const std::vector<std::string> kStems{"drums", "bass", "other", "vocals"};

struct MusicTrack {
  std::string name;
  std::string folder;
  int64_t frames = 0;

  /// "mixture" or a stem.
  std::string path(const std::string& part) const { return folder + "/" + part + ".wav"; }
};

struct MusicTracks {
  std::vector<MusicTrack> train, valid, test;  ///< in order of their names
};

/// Held-out tracks: those of valid/ when it is there; else musdb's published 14 of train/; else the last
/// seventh of train/ (one at least). Checks that every file is there and has the rate and channels of the
/// spec and its mixture's length. Throws std::invalid_argument "FILE: …".
MusicTracks open_tracks(const DataSpec& spec);

/// All files as they were given, in order; relative to the root. Errors as open_tracks for folders that are
/// missing.
std::vector<std::string> music_files(const std::string& root);

}  // namespace diffq
