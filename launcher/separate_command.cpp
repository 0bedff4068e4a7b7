#include "launcher/separate_command.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <stdexcept>

#include "datasets/codecs/sound_file.h"
#include "datasets/music_tracks.h"
#include "launcher/gpu_map.h"
#include "launcher/world.h"
#include "sweeps/sweep.h"
#include "trainer/device.h"
#include "trainer/model_file.h"
#include "trainer/models/demucs.h"
#include "trainer/models/sinc_resample.h"
#include "trainer/separate.h"

namespace diffq {
namespace {

namespace fs = std::filesystem;

at::Tensor resampled(const at::Tensor& sound, int64_t from_rate, int64_t to_rate) {
  return SincResample(from_rate, to_rate)(sound.unsqueeze(0)).squeeze(0);
}

/// [channels, frames] with the channels that a model takes: one is played on all, several are averaged into
/// one.
at::Tensor with_channels(const at::Tensor& sound, int64_t channels, const std::string& input) {
  const int64_t there = sound.size(0);
  if (there == channels) return sound;
  if (there == 1) return sound.expand({channels, -1}).contiguous();
  if (channels == 1) return sound.mean(0, /*keepdim=*/true);
  throw std::invalid_argument(input + ": has " + std::to_string(there) + " channels; the model takes " +
                              std::to_string(channels) + ", or one");
}

RunSpec spec_of(const PackedModel& model, const std::string& file) {
  if (!model.is_packed())
    throw std::invalid_argument(file + ": is not a packed model of diffq, so that its network is not known");
  RunSpec spec = read_model_config(model.config(), file);
  if (benchmark_name(spec.data.name) != BenchmarkName::audio)
    throw std::invalid_argument(file +
                                ": its model does not separate music; give one that was trained on music");
  return spec;
}

}  // namespace

int separate_command(const SeparateOptions& options) {
  const std::string &file = options.model, &input = options.input, &out = options.out;
  const PackedModel model = PackedModel::read(file);
  const RunSpec spec = spec_of(model, file);
  const MusicSpec& music = spec.data.music;
  const SoundInfo info = sound_info(input);
  if (info.frames == 0) throw std::invalid_argument(input + ": holds no sound");
  const at::Device device = choose_device(options.device);
  at::set_num_threads(compute_threads(1));
  torch::NoGradGuard no_grad;
  Demucs demucs(spec.model.demucs, static_cast<int64_t>(kStems.size()), music.channels);
  load_module(model, demucs);
  demucs.eval();
  prepare_device(device);
  demucs.to(device);

  at::Tensor mixture;
  try {
    mixture = read_sound(input, 0, info.frames);
  } catch (const std::runtime_error& error) {
    throw std::invalid_argument(error.what());
  }
  mixture = resampled(with_channels(mixture, music.channels, input), info.rate, music.rate);
  const at::Tensor stems =
      separate([&](const at::Tensor& part) { return demucs.forward(part.to(device)).cpu(); }, mixture,
               *spec.eval.separation,
               {music.rate, std::llround(music.segment_seconds * double(music.rate)), spec.eval.batch_size});

  std::error_code failed;
  fs::create_directories(out, failed);
  if (failed)
    throw std::invalid_argument(out + ": can't be made: " + failed.message() + "; give another --out");
  for (size_t stem = 0; stem < kStems.size(); ++stem) {
    // The way back may give a frame more or less.
    const at::Tensor back = resampled(stems[static_cast<int64_t>(stem)], music.rate, info.rate);
    const int64_t frames = std::min(back.size(1), info.frames);
    const at::Tensor sound = at::constant_pad_nd(back.narrow(1, 0, frames), {0, info.frames - frames});
    const std::string path = fs::path(out) / (kStems[stem] + ".wav");
    write_sound(path, sound, info.rate);
    std::printf("%s\n", path.c_str());
  }
  return 0;
}

}  // namespace diffq
