#include "tests/support/music_files.h"

#include <ATen/ATen.h>
#include <unistd.h>

#include <atomic>

#include "datasets/codecs/sound_file.h"
#include "datasets/music_tracks.h"

namespace diffq {

namespace fs = std::filesystem;

MusicFolder::MusicFolder() {
  static std::atomic<int> made{0};
  root_ =
      fs::temp_directory_path() / ("diffq-music-" + std::to_string(getpid()) + "-" + std::to_string(made++));
  fs::create_directories(root_);
}

MusicFolder::~MusicFolder() {
  std::error_code ignored;
  fs::remove_all(root_, ignored);
}

void MusicFolder::add_track(const std::string& part, const std::string& name, int64_t frames) {
  const fs::path folder = root_ / part / name;
  fs::create_directories(folder);
  const at::Tensor time = at::arange(frames, at::kFloat) / double(kMusicRate);
  at::Tensor mixture = at::zeros({2, frames});
  for (size_t stem = 0; stem < kStems.size(); ++stem) {
    const double pitch = 150.0 * double(1 + 2 * stem) + 10.0 * double(tracks_);
    const at::Tensor tone = at::sin(time * (2 * M_PI * pitch)) * 0.1;
    // In steps of 16 bits, so that the files hold exactly this and its sum.
    const at::Tensor sound = at::round(at::stack({tone, tone * 0.5}) * 32768) / 32768;
    write_sound(folder / (kStems[stem] + ".wav"), sound, kMusicRate);
    mixture += sound;
  }
  write_sound(folder / "mixture.wav", mixture, kMusicRate);
  ++tracks_;
}

DataSpec MusicFolder::spec(DataName name) const {
  DataSpec spec;
  spec.name = name;
  spec.root = root_.string();
  spec.music.rate = kMusicRate;
  spec.music.segment_seconds = 0.5;
  spec.music.stride_seconds = 0.25;
  return spec;
}

}  // namespace diffq
