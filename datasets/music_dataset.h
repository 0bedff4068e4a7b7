#pragma once
// Parts of tracks of music as samples, read from the files when they are asked for.

#include <memory>
#include <mutex>
#include <vector>

#include "datasets/dataset.h"
#include "datasets/music_tracks.h"

namespace diffq {

struct Segment {
  int64_t track = 0;
  int64_t begin = 0;  ///< frames
};

/// Places of whole segments of `length` frames at every `stride`; a track that is shorter has one.
std::vector<Segment> segments(const std::vector<MusicTrack>& tracks, int64_t length, int64_t stride);

/// Mean and deviation of a mixture's frames, averaged over channels.
struct Loudness {
  double mean = 0;
  double deviation = 1;  ///< of silence: 1
};
/// Of all of [channels, frames].
Loudness loudness_of(const at::Tensor& mixture);

/// What training does to one sample: where the segment begins, and for each stem.
struct StemChange {
  bool swap_channels = false;
  float factor = 1;  ///< gain and sign
};
struct MusicChange {
  int64_t later = 0;  ///< frames, below the stride
  std::vector<StemChange> stems;
};
/// Each part of the spec has draws of its own: switching one off leaves the others as they were.
MusicChange draw_change(const MusicAugmentSpec& spec, int64_t stride, const AugmentKey& key, int64_t sample);

/// Segments, with all files of a track normalised by its mixture's loudness. Without augmentation the mixture
/// is the file's, with it the sum of the changed stems. Frames behind a track's end are zero.
class SegmentDataset : public Dataset {
 public:
  SegmentDataset(std::vector<MusicTrack> tracks, std::vector<Segment> segments, int64_t length,
                 int64_t stride, const MusicAugmentSpec& augment);
  int64_t size() const override { return static_cast<int64_t>(segments_.size()); }
  Batch batch(std::span<const int64_t> samples, const std::optional<AugmentKey>& augment) const override;

 private:
  const Loudness& loudness(int64_t track) const;
  at::Tensor read(int64_t track, const std::string& part, int64_t begin) const;

  std::vector<MusicTrack> tracks_;
  std::vector<Segment> segments_;
  int64_t length_, stride_;
  MusicAugmentSpec augment_;
  struct Known {
    std::once_flag once;
    Loudness loudness;
  };
  std::unique_ptr<Known[]> known_;  // found out when a track is first needed: it is read through
};

/// Whole tracks as they are. A batch is one track, since all have lengths of their own.
class TrackDataset : public Dataset {
 public:
  explicit TrackDataset(std::vector<MusicTrack> tracks) : tracks_(std::move(tracks)) {}
  int64_t size() const override { return static_cast<int64_t>(tracks_.size()); }
  Batch batch(std::span<const int64_t> samples, const std::optional<AugmentKey>& augment) const override;

 private:
  std::vector<MusicTrack> tracks_;
};

}  // namespace diffq
