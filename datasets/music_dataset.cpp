#include "datasets/music_dataset.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/PhiloxRNGEngine.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "datasets/codecs/sound_file.h"

namespace diffq {
namespace {

constexpr uint64_t kMusicTag = 0x6d75736963;  // "music": keeps these draws apart from others of the same seed

}  // namespace

std::vector<Segment> segments(const std::vector<MusicTrack>& tracks, int64_t length, int64_t stride) {
  std::vector<Segment> all;
  for (size_t track = 0; track < tracks.size(); ++track) {
    const int64_t last = std::max<int64_t>(0, tracks[track].frames - length);
    for (int64_t begin = 0; begin <= last; begin += stride)
      all.push_back({static_cast<int64_t>(track), begin});
  }
  return all;
}

Loudness loudness_of(const at::Tensor& mixture) {
  const at::Tensor mono = mixture.mean(0).to(at::kDouble);
  const double deviation = mono.numel() > 1 ? mono.std().item<double>() : 0;
  return {mono.mean().item<double>(), deviation > 0 ? deviation : 1};
}

MusicChange draw_change(const MusicAugmentSpec& spec, int64_t stride, const AugmentKey& key, int64_t sample) {
  // Four blocks of four words an epoch, of which 13 words are used.
  at::Philox4_32 random(key.seed ^ kMusicTag, static_cast<uint64_t>(sample),
                        4 * static_cast<uint64_t>(key.epoch));
  const auto uniform = [&] { return static_cast<double>(random()) * 0x1p-32; };  // [0, 1)
  MusicChange change;
  const double later = uniform();
  if (spec.shift) change.later = static_cast<int64_t>(later * static_cast<double>(stride));
  for (size_t stem = 0; stem < kStems.size(); ++stem) {
    const bool swap = uniform() < 0.5, negative = uniform() < 0.5;
    const double gain = spec.min_gain + uniform() * (spec.max_gain - spec.min_gain);
    change.stems.push_back(
        {swap && spec.flip_channels, static_cast<float>(negative && spec.flip_sign ? -gain : gain)});
  }
  return change;
}

SegmentDataset::SegmentDataset(std::vector<MusicTrack> tracks, std::vector<Segment> segments, int64_t length,
                               int64_t stride, const MusicAugmentSpec& augment)
    : tracks_(std::move(tracks)),
      segments_(std::move(segments)),
      length_(length),
      stride_(stride),
      augment_(augment),
      known_(std::make_unique<Known[]>(tracks_.size())) {}

const Loudness& SegmentDataset::loudness(int64_t track) const {
  Known& known = known_[track];
  std::call_once(known.once, [&] {
    known.loudness = loudness_of(read_sound(tracks_[track].path("mixture"), 0, tracks_[track].frames));
  });
  return known.loudness;
}

at::Tensor SegmentDataset::read(int64_t track, const std::string& part, int64_t begin) const {
  const int64_t there = std::min(length_, tracks_[track].frames - begin);
  const Loudness& level = loudness(track);
  const at::Tensor sound =
      (read_sound(tracks_[track].path(part), begin, there) - level.mean) / level.deviation;
  return there == length_ ? sound : at::constant_pad_nd(sound, {0, length_ - there});
}

Batch SegmentDataset::batch(std::span<const int64_t> samples,
                            const std::optional<AugmentKey>& augment) const {
  std::vector<at::Tensor> mixtures, stems;
  for (const int64_t sample : samples) {
    const Segment& segment = segments_.at(sample);
    MusicChange change{0, std::vector<StemChange>(kStems.size())};
    if (augment) change = draw_change(augment_, stride_, *augment, sample);
    const int64_t last = std::max<int64_t>(0, tracks_[segment.track].frames - length_);
    const int64_t begin = std::min(segment.begin + change.later, last);
    std::vector<at::Tensor> own;
    for (size_t stem = 0; stem < kStems.size(); ++stem) {
      const at::Tensor sound = read(segment.track, kStems[stem], begin);
      own.push_back((change.stems[stem].swap_channels ? sound.flip(0) : sound) * change.stems[stem].factor);
    }
    stems.push_back(at::stack(own));
    mixtures.push_back(augment ? stems.back().sum(0) : read(segment.track, "mixture", begin));
  }
  return {at::stack(mixtures), at::stack(stems)};
}

Batch TrackDataset::batch(std::span<const int64_t> samples, const std::optional<AugmentKey>&) const {
  if (samples.size() != 1) throw std::runtime_error("whole tracks are read one at a time");
  const MusicTrack& track = tracks_.at(samples[0]);
  const auto read = [&](const std::string& part) { return read_sound(track.path(part), 0, track.frames); };
  std::vector<at::Tensor> stems;
  for (const std::string& stem : kStems) stems.push_back(read(stem));
  return {read("mixture").unsqueeze(0), at::stack(stems).unsqueeze(0)};
}

}  // namespace diffq
