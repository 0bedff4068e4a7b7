#pragma once
// Small sets of music with stems, in the layout of MUSDB18-HQ: each stem a tone of its own under noise.

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

#include "datasets/data_spec.h"

namespace diffq {

inline constexpr int64_t kMusicRate = 8000;

/// A folder in the system's temporary one, removed at the end.
class MusicFolder {
 public:
  MusicFolder();
  ~MusicFolder();
  MusicFolder(const MusicFolder&) = delete;
  MusicFolder& operator=(const MusicFolder&) = delete;

  /// Writes root/PART/NAME with its five files; stereo, the mixture being the sum of the stems.
  void add_track(const std::string& part, const std::string& name, int64_t frames);
  std::string path(const std::string& relative) const { return (root_ / relative).string(); }
  /// Of this folder: kMusicRate, segments of half a second every quarter.
  DataSpec spec(DataName name = DataName::stems) const;

 private:
  std::filesystem::path root_;
  int64_t tracks_ = 0;
};

}  // namespace diffq
