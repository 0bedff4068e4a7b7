#pragma once
// Music with its stems as a data set: segments to train on and to hold out, whole tracks to test on.

#include "datasets/data_format.h"

namespace diffq {

/// As the functions of dataset.h. check_music reads headers alone; .stem.mp4 files are decoded once.
DataSummary check_music(const DataSpec& spec);
DataSplits open_music(const DataSpec& spec);
std::string music_fingerprint(const DataSpec& spec);

inline constexpr DataFormat kMusic{check_music, open_music, music_fingerprint};

}  // namespace diffq
