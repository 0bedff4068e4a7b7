#include "datasets/codecs/sound_file.h"

#include <ATen/ops/empty.h>
#include <sndfile.h>

#include <cmath>
#include <memory>
#include <stdexcept>

#include "datasets/fail.h"

namespace diffq {
namespace {

using File = std::unique_ptr<SNDFILE, int (*)(SNDFILE*)>;

File open_file(const std::string& path, int mode, SF_INFO& info) {
  return {sf_open(path.c_str(), mode, &info), sf_close};
}

}  // namespace

SoundInfo sound_info(const std::string& path) {
  SF_INFO info{};
  const File file = open_file(path, SFM_READ, info);
  if (!file)
    fail(path,
         std::string("can't be read: ") + sf_strerror(nullptr) + "; it must be a sound file, such as WAV");
  return {info.channels, info.samplerate, info.frames};
}

at::Tensor read_sound(const std::string& path, int64_t begin, int64_t count) {
  SF_INFO info{};
  const File file = open_file(path, SFM_READ, info);
  if (!file) throw std::runtime_error(path + ": can't be read: " + sf_strerror(nullptr));
  const at::Tensor frames = at::empty({count, info.channels}, at::kFloat);
  float* values = frames.mutable_data_ptr<float>();
  if (sf_seek(file.get(), begin, SEEK_SET) != begin || sf_readf_float(file.get(), values, count) != count) {
    throw std::runtime_error(path + ": ends before frame " + std::to_string(begin + count) +
                             "; is it whole?");
  }
  for (int64_t i = 0; i < frames.numel(); ++i) {
    if (std::isfinite(values[i])) continue;
    throw std::runtime_error(path + ": frame " + std::to_string(begin + i / info.channels) +
                             " is not a finite number; write the file again");
  }
  return frames.t().contiguous();
}

void write_sound(const std::string& path, const at::Tensor& sound, int64_t rate) {
  SF_INFO info{};
  info.channels = static_cast<int>(sound.size(0));
  info.samplerate = static_cast<int>(rate);
  info.format = SF_FORMAT_WAV | SF_FORMAT_PCM_16;
  File file = open_file(path, SFM_WRITE, info);
  if (!file) throw std::runtime_error(path + ": can't be written: " + sf_strerror(nullptr));
  sf_command(file.get(), SFC_SET_CLIPPING, nullptr, SF_TRUE);
  const at::Tensor frames = sound.t().contiguous();
  const bool written =
      sf_writef_float(file.get(), frames.const_data_ptr<float>(), frames.size(0)) == frames.size(0);
  if (sf_close(file.release()) != 0 || !written)
    throw std::runtime_error(path + ": can't be written; is there room for it?");
}

}  // namespace diffq
