// Music with stems: what is held out, what a segment holds, what training does to it, and what is refused.

#include "datasets/music.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "datasets/codecs/sound_file.h"
#include "datasets/codecs/stem_mp4.h"
#include "datasets/music_dataset.h"
#include "tests/support/music_files.h"

namespace diffq {
namespace {

namespace fs = std::filesystem;

/// Tracks of 1, 1 and 2 seconds to train on, one held out, one to test on.
void fill(MusicFolder& folder) {
  folder.add_track("train", "a", 8000);
  folder.add_track("train", "b", 8000);
  folder.add_track("train", "c", 16000);
  folder.add_track("valid", "d", 9000);
  folder.add_track("test", "e", 5000);
}

std::string refusal(const DataSpec& spec) {
  try {
    check_data(spec);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "accepted";
}

std::set<std::string> names(const std::vector<MusicTrack>& tracks) {
  std::set<std::string> all;
  for (const MusicTrack& track : tracks) all.insert(track.name);
  return all;
}

TEST(Music, CountsSegmentsAtEveryStrideAndWholeTestTracks) {
  MusicFolder folder;
  fill(folder);
  const DataSummary summary = check_data(folder.spec());
  EXPECT_EQ(summary.train, 3 + 3 + 7);
  EXPECT_EQ(summary.valid, 2);
  EXPECT_EQ(summary.test, 1);
  const auto& shape = std::get<MusicShape>(summary.shape);
  EXPECT_EQ(shape.segment, 4000);
  EXPECT_EQ(shape.tracks, std::vector<std::string>{"e"});
  DataSpec fewer = folder.spec();
  fewer.music.train_segments = 5;
  EXPECT_EQ(check_data(fewer).train, 5);
  fewer.music.train_segments = 14;
  EXPECT_NE(refusal(fewer).find("data.train_segments: 14 were asked for, but there are 13"),
            std::string::npos);
}

TEST(Music, HeldOutTracks) {
  MusicFolder published;
  for (const char* name : {"ANiMAL - Rockshow", "B", "Meaxic - Take A Step", "Z"})
    published.add_track("train", name, 8000);
  published.add_track("test", "t", 8000);
  EXPECT_EQ(names(open_tracks(published.spec(DataName::musdb)).valid),
            (std::set<std::string>{"ANiMAL - Rockshow", "Meaxic - Take A Step"}));
  EXPECT_EQ(names(open_tracks(published.spec(DataName::musdb)).train), (std::set<std::string>{"B", "Z"}));
  // Of other music the last seventh, one at least.
  EXPECT_EQ(names(open_tracks(published.spec(DataName::stems)).valid), std::set<std::string>{"Z"});
  published.add_track("valid", "v", 8000);
  EXPECT_EQ(names(open_tracks(published.spec(DataName::musdb)).valid), std::set<std::string>{"v"});
}

TEST(Music, ASegmentIsThePartOfTheFileNormalisedByItsTracksMixture) {
  MusicFolder folder;
  fill(folder);
  const DataSplits data = open_data(folder.spec());
  const Batch batch = data.train->batch(std::vector<int64_t>{8, 0}, std::nullopt);
  EXPECT_EQ(batch.input.sizes(), (std::vector<int64_t>{2, 2, 4000}));
  EXPECT_EQ(batch.target.sizes(), (std::vector<int64_t>{2, 4, 2, 4000}));
  const at::Tensor mixture = read_sound(folder.path("train/c/mixture.wav"), 0, 16000);
  const at::Tensor mono = mixture.mean(0);
  const at::Tensor normal = (mixture - mono.mean()) / mono.std();
  EXPECT_TRUE(at::allclose(batch.input[0], normal.narrow(1, 2 * 2000, 4000), 1e-4, 1e-5));
  const at::Tensor bass =
      (read_sound(folder.path("train/c/bass.wav"), 4000, 4000) - mono.mean()) / mono.std();
  EXPECT_TRUE(at::allclose(batch.target[0][1], bass, 1e-4, 1e-5));
}

TEST(Music, BehindATracksEndIsSilence) {
  MusicFolder folder;
  fill(folder);
  folder.add_track("train", "short", 1000);
  const DataSplits data = open_data(folder.spec());
  ASSERT_EQ(data.train->size(), 14);
  const Batch batch = data.train->batch(std::vector<int64_t>{13}, AugmentKey{1, 0});
  EXPECT_GT(batch.target.narrow(3, 0, 1000).abs().max().item<float>(), 0.1);
  EXPECT_EQ(batch.target.narrow(3, 1000, 3000).abs().max().item<float>(), 0);
}

TEST(Music, TestTracksAreWholeAndAsTheyAre) {
  MusicFolder folder;
  fill(folder);
  const Batch track = open_data(folder.spec()).test->batch(std::vector<int64_t>{0}, std::nullopt);
  EXPECT_TRUE(track.input[0].equal(read_sound(folder.path("test/e/mixture.wav"), 0, 5000)));
  EXPECT_TRUE(at::allclose(track.target.sum(1), track.input, 0, 1e-6));
}

TEST(MusicAugmentation, IsAFunctionOfSeedEpochAndSampleAndItsPartsAreSeparate) {
  const MusicAugmentSpec all;
  MusicAugmentSpec no_shift = all, no_signs = all;
  no_shift.shift = false;
  no_signs.flip_sign = false;
  int64_t swaps = 0, negative = 0;
  double least = 9, most = 0, latest = 0;
  for (int64_t sample = 0; sample < 500; ++sample) {
    const MusicChange change = draw_change(all, 2000, {3, 1}, sample);
    EXPECT_EQ(draw_change(all, 2000, {3, 1}, sample).later, change.later);
    EXPECT_EQ(draw_change(no_shift, 2000, {3, 1}, sample).later, 0);
    for (size_t stem = 0; stem < 4; ++stem) {
      const StemChange& own = change.stems[stem];
      swaps += own.swap_channels;
      negative += own.factor < 0;
      least = std::min<double>(least, std::abs(own.factor));
      most = std::max<double>(most, std::abs(own.factor));
      EXPECT_EQ(draw_change(no_shift, 2000, {3, 1}, sample).stems[stem].factor, own.factor);
      EXPECT_EQ(draw_change(no_signs, 2000, {3, 1}, sample).stems[stem].factor, std::abs(own.factor));
    }
    ASSERT_LT(change.later, 2000);
    latest = std::max<double>(latest, double(change.later));
  }
  EXPECT_NEAR(double(swaps), 1000, 110);  // 2000 fair coins: five standard deviations
  EXPECT_NEAR(double(negative), 1000, 110);
  EXPECT_GE(least, 0.25);
  EXPECT_LT(least, 0.26);
  EXPECT_LE(most, 1.25);
  EXPECT_GT(most, 1.24);
  EXPECT_GT(latest, 1980);
  EXPECT_NE(draw_change(all, 2000, {3, 2}, 0).later, draw_change(all, 2000, {3, 1}, 0).later);
}

TEST(MusicAugmentation, MixturesAreTheSumsOfTheirStems) {
  MusicFolder folder;
  fill(folder);
  const DataSplits data = open_data(folder.spec());
  const std::vector<int64_t> samples{1, 4, 12};
  const Batch first = data.train->batch(samples, AugmentKey{1, 0});
  EXPECT_TRUE(at::allclose(first.input, first.target.sum(1), 1e-5, 1e-6));
  EXPECT_TRUE(data.train->batch(samples, AugmentKey{1, 0}).target.equal(first.target));
  EXPECT_FALSE(data.train->batch(samples, AugmentKey{1, 1}).target.equal(first.target));
}

TEST(MusicErrors, NameTheFileAndTheRemedy) {
  MusicFolder folder;
  fill(folder);
  const auto refuses = [&](const std::string& words) {
    EXPECT_NE(refusal(folder.spec()).find(words), std::string::npos) << refusal(folder.spec());
  };
  EXPECT_EQ(refusal(folder.spec()), "accepted");
  const std::string bass = folder.path("train/b/bass.wav");
  const at::Tensor sound = read_sound(bass, 0, 8000);
  fs::remove(bass);
  refuses("train/b/bass.wav: is not there; a track's folder holds mixture.wav");
  write_sound(bass, sound.narrow(1, 0, 7999), kMusicRate);
  refuses("bass.wav: has 7999 frames, but its mixture.wav 8000");
  write_sound(bass, sound.narrow(0, 0, 1), kMusicRate);
  refuses("bass.wav: has 1 channels, not 2; convert it, or set data.channels");
  write_sound(bass, sound, 44100);
  refuses("bass.wav: has 44100 frames a second, not 8000; convert it, or set data.rate");
  std::ofstream(bass) << "no sound";
  refuses("bass.wav: can't be read");
  write_sound(bass, sound, kMusicRate);
  fs::remove_all(folder.path("test"));
  refuses("test: is not there");
}

TEST(MusicErrors, MonoIsReadWhenItIsAskedFor) {
  MusicFolder folder;
  fill(folder);
  for (const auto& entry : fs::recursive_directory_iterator(folder.path(""))) {
    if (!entry.is_regular_file()) continue;
    const SoundInfo info = sound_info(entry.path());
    write_sound(entry.path(), read_sound(entry.path(), 0, info.frames).narrow(0, 0, 1), kMusicRate);
  }
  DataSpec spec = folder.spec();
  spec.music.channels = 1;
  EXPECT_EQ(open_data(spec).train->batch(std::vector<int64_t>{0}, AugmentKey{1, 0}).input.size(1), 1);
}

/// A WAV of one 32-bit float channel, by hand.
void write_float_wave(const std::string& path, const std::vector<float>& values) {
  std::ofstream file(path, std::ios::binary);
  const auto put = [&](uint32_t value, int bytes) {
    file.write(reinterpret_cast<const char*>(&value), bytes);
  };
  const auto size = static_cast<uint32_t>(values.size() * 4);
  file << "RIFF";
  put(36 + size, 4);
  file << "WAVEfmt ";
  put(16, 4), put(3, 2), put(1, 2), put(kMusicRate, 4), put(kMusicRate * 4, 4), put(4, 2), put(32, 2);
  file << "data";
  put(size, 4);
  file.write(reinterpret_cast<const char*>(values.data()), size);
}

TEST(MusicErrors, WhatIsNoNumberIsNamedWhenItIsRead) {
  MusicFolder folder;
  const std::string path = folder.path("nan.wav");
  write_float_wave(path, {0, 0.5, std::nanf(""), 0});
  EXPECT_EQ(read_sound(path, 0, 2)[0][1].item<float>(), 0.5);
  try {
    read_sound(path, 1, 3);
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find("nan.wav: frame 2 is not a finite number"), std::string::npos);
  }
  EXPECT_THROW(read_sound(path, 2, 3), std::runtime_error);  // ends before
}

TEST(MusicFingerprint, IsOfContentAndNamesAlone) {
  MusicFolder folder, other;
  fill(folder);
  fill(other);
  const std::string before = fingerprint(folder.spec());
  EXPECT_EQ(fingerprint(other.spec()), before);
  fs::rename(other.path("train/a"), other.path("train/a2"));
  EXPECT_NE(fingerprint(other.spec()), before);
  write_sound(folder.path("test/e/bass.wav"), at::zeros({2, 5000}), kMusicRate);
  EXPECT_NE(fingerprint(folder.spec()), before);
}

// --- .stem.mp4 --------------------------------------------------------------------------------------------

std::vector<std::string> outputs(const std::string& folder) {
  std::vector<std::string> paths;
  for (const char* part : {"mixture", "drums", "bass", "other", "vocals"})
    paths.push_back(folder + "/" + part + ".wav");
  return paths;
}

TEST(StemMp4, IsDecodedAsFfmpegDoesAndKept) {
  const char* data = std::getenv("DIFFQ_DATA");
  const fs::path fetched = fs::path(data && *data ? data : DIFFQ_SOURCE_DIR "/data") / "stempeg";
  if (!fs::exists(fetched)) GTEST_SKIP() << "no " << fetched << "; run scripts/fetch_data.sh stempeg";
  MusicFolder folder;
  for (const char* part : {"train", "valid", "test"}) fs::create_directories(folder.path(part));
  const std::string file = folder.path("train/song.stem.mp4");
  fs::copy_file(fs::directory_iterator(fetched)->path(), file);
  fs::copy_file(file, folder.path("valid/song.stem.mp4"));
  fs::copy_file(file, folder.path("test/song.stem.mp4"));
  DataSpec spec = folder.spec(DataName::musdb);
  spec.music.rate = 44100;
  spec.music.segment_seconds = 1;
  const DataSummary summary = check_data(spec);
  EXPECT_EQ(std::get<MusicShape>(summary.shape).tracks, std::vector<std::string>{"song"});
  const std::string decoded = folder.path("train/.decoded/song");
  const auto written = fs::last_write_time(decoded + "/bass.wav");
  check_data(spec);
  EXPECT_EQ(fs::last_write_time(decoded + "/bass.wav"), written) << "decoded again";
  if (std::system("ffmpeg -version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no ffmpeg to compare with";
  for (int stream = 0; stream < 5; ++stream) {
    const std::string theirs = folder.path("theirs.wav");
    ASSERT_EQ(std::system(("ffmpeg -v error -y -i '" + file + "' -map 0:a:" + std::to_string(stream) +
                           " -c:a pcm_s16le " + theirs)
                              .c_str()),
              0);
    const std::string ours = outputs(decoded)[stream];
    const SoundInfo info = sound_info(theirs);
    ASSERT_EQ(sound_info(ours).frames, info.frames);
    EXPECT_GT(info.frames, 6 * 44100);
    const at::Tensor off = read_sound(ours, 0, info.frames) - read_sound(theirs, 0, info.frames);
    EXPECT_LE(off.abs().max().item<double>() * 32768, 1.0) << ours;
    EXPECT_GT(read_sound(ours, 0, info.frames).abs().max().item<double>(), 0.01);
  }
}

TEST(StemMp4, OtherFilesAreRefused) {
  MusicFolder folder;
  fill(folder);
  std::ofstream(folder.path("train/x.stem.mp4")) << "no film";
  EXPECT_NE(refusal(folder.spec()).find("x.stem.mp4: can't be decoded"), std::string::npos)
      << refusal(folder.spec());
  EXPECT_THROW(decode_streams(folder.path("train/a/bass.wav"), outputs(folder.path(""))),
               std::invalid_argument);
}

}  // namespace
}  // namespace diffq
