#include "datasets/music.h"

#include <cmath>
#include <utility>

#include "datasets/data_format.h"
#include "datasets/fail.h"
#include "datasets/fingerprint.h"
#include "datasets/music_dataset.h"

namespace diffq {
namespace {

int64_t frames_of(double seconds, const MusicSpec& spec) { return std::llround(seconds * double(spec.rate)); }

/// The first `asked` of them; 0: all.
template <class Item>
void keep_first(std::vector<Item>& items, const std::string& key, int64_t asked) {
  check_not_negative(key, asked);
  const auto there = static_cast<int64_t>(items.size());
  if (asked > there) {
    fail(key, std::to_string(asked) + " were asked for, but there are " + std::to_string(there) +
                  "; ask for at most so many, or 0 for all");
  }
  if (asked > 0) items.resize(asked);
}

struct Music {
  MusicShape shape;
  std::vector<Segment> train, valid;
  std::vector<MusicTrack> train_tracks, valid_tracks, test_tracks;
};

Music open(const DataSpec& spec) {
  const MusicSpec& music = spec.music;
  const int64_t segment = frames_of(music.segment_seconds, music),
                stride = frames_of(music.stride_seconds, music);
  if (segment < 1) fail("data.segment_seconds", "is less than a frame; 10 is usual");
  if (stride < 1) fail("data.stride_seconds", "is less than a frame; 1 is usual");
  MusicTracks tracks = open_tracks(spec);
  Music found;
  found.train = segments(tracks.train, segment, stride);
  found.valid = segments(tracks.valid, segment, segment);
  keep_first(found.train, "data.train_segments", music.train_segments);
  keep_first(found.valid, "data.valid_segments", music.valid_segments);
  keep_first(tracks.test, "data.test_tracks", music.test_tracks);
  found.shape = {music.channels, music.rate, segment, kStems};
  for (const MusicTrack& track : tracks.test) found.shape.tracks.push_back(track.name);
  found.train_tracks = std::move(tracks.train);
  found.valid_tracks = std::move(tracks.valid);
  found.test_tracks = std::move(tracks.test);
  return found;
}

}  // namespace

DataSummary check_music(const DataSpec& spec) {
  const Music music = open(spec);
  return {music.shape, static_cast<int64_t>(music.train.size()), static_cast<int64_t>(music.valid.size()),
          static_cast<int64_t>(music.test_tracks.size())};
}

DataSplits open_music(const DataSpec& spec) {
  Music music = open(spec);
  const int64_t stride = frames_of(spec.music.stride_seconds, spec.music);
  const auto of_segments = [&](std::vector<MusicTrack>& tracks, std::vector<Segment>& segments) {
    return std::make_shared<const SegmentDataset>(std::move(tracks), std::move(segments), music.shape.segment,
                                                  stride, spec.music.augment);
  };
  return {music.shape, of_segments(music.train_tracks, music.train),
          of_segments(music.valid_tracks, music.valid),
          std::make_shared<const TrackDataset>(std::move(music.test_tracks))};
}

std::string music_fingerprint(const DataSpec& spec) {
  const std::vector<std::string> files = music_files(spec.root);
  std::vector<std::string> paths;
  std::string text;
  for (const std::string& file : files) {
    paths.push_back(spec.root + "/" + file);
    text += file + '\n';
  }
  return fingerprint_text(text + fingerprint_files(paths));
}

}  // namespace diffq
