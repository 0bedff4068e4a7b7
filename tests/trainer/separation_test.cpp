// Separation of music: resampling, Demucs' lengths, remixing, whole tracks in overlapping segments, and their
// scores on any number of ranks.

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "tests/support/music_files.h"
#include "tests/support/thread_communicator.h"
#include "trainer/bss_eval.h"
#include "trainer/evaluate.h"
#include "trainer/models/demucs.h"
#include "trainer/remix.h"
#include "trainer/separate.h"
#include "trainer/train_run.h"

namespace diffq {
namespace {

at::Tensor tone(double pitch, int64_t rate, int64_t frames) {
  return at::sin(at::arange(frames, at::kDouble) * (2 * M_PI * pitch / double(rate)))
      .to(at::kFloat)
      .view({1, 1, -1});
}

double worst(const at::Tensor& difference) { return difference.abs().max().item<double>(); }

TEST(SincResample, ATonePassesToAnotherRate) {
  for (const auto& [from, to] :
       {std::pair<int64_t, int64_t>{16000, 44100}, {48000, 16000}, {44100, 44100}, {1, 2}}) {
    const int64_t frames = 9000, scale = from == 1 ? 8000 : 1;
    const at::Tensor resampled = SincResample(from, to)(tone(440, from * scale, frames));
    ASSERT_EQ(resampled.size(2), frames * to / from);
    const at::Tensor expected = tone(440, to * scale, resampled.size(2));
    const int64_t border = resampled.size(2) / 10;
    EXPECT_LE(worst((resampled - expected).narrow(2, border, 8 * border)), 2e-3) << from << " to " << to;
  }
  EXPECT_LE(worst(SincResample(3, 7)(at::ones({1, 2, 300})) - 1), 1e-5);
}

TEST(SincResample, WhatTheLowerRateCannotHoldIsTakenOut) {
  EXPECT_LE(worst(SincResample(16000, 8000)(tone(6000, 16000, 9000)).narrow(2, 450, 3600)), 2e-3);
}

TEST(Demucs, KeepsAnyLengthAndReachesAllParameters) {
  torch::manual_seed(1);
  Demucs model({.channels = 4, .depth = 3}, 4, 2);
  for (const int64_t length : {1, 7, 500, 4010}) {
    const int64_t fitting = model.fitting_length(length);
    EXPECT_GE(fitting, length);
    EXPECT_EQ(model.fitting_length(fitting), fitting);
    EXPECT_EQ(model.forward(at::randn({2, 2, length})).sizes(), (std::vector<int64_t>{2, 4, 2, length}));
  }
  model.forward(at::randn({1, 2, 900})).square().sum().backward();
  for (const auto& item : model.named_parameters()) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    EXPECT_GT(worst(item.value().grad()), 0) << item.key();
  }
}

/// Sample i holds i in every stem, in units of the stem.
Batch numbered(int64_t samples) {
  const at::Tensor stems = at::arange(samples, at::kFloat).view({-1, 1, 1, 1}) *
                           torch::tensor({1.0f, 100.0f, 10000.0f}).view({1, 3, 1, 1});
  const at::Tensor target = stems.expand({samples, 3, 2, 5}).contiguous();
  return {target.sum(1), target};
}

TEST(Remix, DealsOutEachStemWithinItsGroup) {
  const Batch before = numbered(10), after = remix(numbered(10), 4, 7, 2, 40);
  EXPECT_TRUE(after.input.equal(after.target.sum(1)));
  EXPECT_FALSE(after.target.equal(before.target));
  for (int64_t stem = 0; stem < 3; ++stem) {
    const at::Tensor dealt = after.target.select(1, stem).flatten(1).select(1, 0);
    const at::Tensor there = before.target.select(1, stem).flatten(1).select(1, 0);
    for (const auto& [begin, count] : {std::pair<int64_t, int64_t>{0, 4}, {4, 4}, {8, 2}})
      EXPECT_TRUE(std::get<0>(dealt.narrow(0, begin, count).sort()).equal(there.narrow(0, begin, count)));
  }
  EXPECT_TRUE(remix(numbered(10), 1, 7, 2, 40).target.equal(before.target));
  EXPECT_FALSE(remix(numbered(10), 4, 7, 3, 40).target.equal(after.target)) << "the same in another epoch";
}

TEST(Remix, IsTheSameOnAnyNumberOfRanks) {
  const Batch whole = remix(numbered(8), 4, 7, 2, 40);
  Batch half = numbered(8);
  half = {half.input.narrow(0, 4, 4), half.target.narrow(0, 4, 4)};
  EXPECT_TRUE(remix(half, 4, 7, 2, 44).target.equal(whole.target.narrow(0, 4, 4)));
}

TEST(Separate, SegmentsAddUpToWhatTheModelMakesOfTheTrack) {
  torch::manual_seed(2);
  const at::Tensor mixture = at::randn({2, 1003}) * 0.2 + 0.01;
  int64_t calls = 0;
  const Separator shares = [&](const at::Tensor& parts) {
    ++calls;
    EXPECT_EQ(parts.size(2), 100);
    return at::stack({parts * 0.25, parts * 0.75}, 1);
  };
  for (const SeparationSpec& spec : {SeparationSpec{1, 0.25}, SeparationSpec{3, 0.5}, SeparationSpec{1, 0}}) {
    calls = 0;
    const at::Tensor stems = separate(shares, mixture, spec, {.rate = 80, .frames = 100, .batch_size = 4});
    EXPECT_EQ(stems.sizes(), (std::vector<int64_t>{2, 2, 1003}));
    EXPECT_GE(calls, 3 * spec.shifts);
    // The mean comes back once with each stem.
    const double mean = mixture.mean().item<double>();
    EXPECT_LE(worst(stems[0] - ((mixture - mean) * 0.25 + mean)), 1e-5);
    EXPECT_LE(worst(stems[1] - ((mixture - mean) * 0.75 + mean)), 1e-5);
  }
  const at::Tensor silence = separate(shares, at::zeros({2, 30}), {}, {.rate = 80, .frames = 100});
  EXPECT_EQ(silence.size(2), 30);
  EXPECT_EQ(worst(silence), 0);
}

TEST(Separate, TheModelHearsTheTrackAtMeanZeroAndDeviationOne) {
  const at::Tensor mixture = tone(40, 1000, 500)[0] * 0.01 + 0.3;
  const Separator heard = [](const at::Tensor& parts) {
    EXPECT_NEAR(parts.mean().item<double>(), 0, 1e-3);
    EXPECT_NEAR(parts.std().item<double>(), 1, 1e-3);
    return parts.unsqueeze(1);
  };
  const at::Tensor stems = separate(heard, mixture, {1, 0}, {.rate = 1000, .frames = 500});
  EXPECT_LE(worst(stems[0] - mixture), 1e-6);
}

RunSpec small_run(const DataSpec& data) {
  RunSpec spec;
  spec.data = data;
  spec.model = {.name = ModelName::demucs, .demucs = {.channels = 4, .depth = 2}};
  spec.train.batch_size = 4;
  spec.train.optimizer.name = OptimizerName::adam;
  spec.train.optimizer.lr = 3e-3;
  spec.eval = usual_evaluation(data);
  return spec;
}

TEST(TrackScores, EachTrackIsScoredOnceOnAnyNumberOfRanks) {
  MusicFolder folder;
  folder.add_track("train", "a", 8000);
  folder.add_track("valid", "b", 8000);
  for (const char* name : {"k", "l", "m"}) folder.add_track("test", name, 12000);
  const RunSpec spec = small_run(folder.spec());
  std::vector<TestResult> results;
  for (const int ranks : {1, 2, 4}) {
    TestResult of_first;
    run_as_ranks(ranks, [&](Communicator& communicator) {
      const DataSplits data = open_data(spec.data);
      std::unique_ptr<Task> task;
      {
        const std::lock_guard lock(generator_mutex());
        task = make_task(spec, data.shape);
      }
      const TestResult result = evaluate_test(*task, *data.test, spec.eval, 1, communicator);
      if (communicator.rank() == 0) of_first = result;
    });
    results.push_back(of_first);
  }
  const TestResult& alone = results[0];
  ASSERT_EQ(alone.tracks.size(), 3u * 4);
  EXPECT_EQ(alone.tracks[5].track, "l");
  EXPECT_EQ(alone.tracks[5].source, "bass");
  for (const TestResult& result : results) {
    EXPECT_EQ(result.metric, alone.metric);
    for (size_t row = 0; row < alone.tracks.size(); ++row) {
      EXPECT_EQ(result.tracks[row].sdr, alone.tracks[row].sdr);
      EXPECT_EQ(result.tracks[row].usdr, alone.tracks[row].usdr);
    }
  }
  double mean = 0;
  for (int64_t stem = 0; stem < 4; ++stem) {
    std::vector<double> of_tracks;
    for (int64_t track = 0; track < 3; ++track) of_tracks.push_back(alone.tracks[track * 4 + stem].sdr);
    std::ranges::sort(of_tracks);
    mean += of_tracks[1] / 4;
  }
  EXPECT_NEAR(alone.metric, mean, 1e-9);
}

// Real compositions, synthesised, where they were fetched.
TEST(OpenMsx, AFewStepsOfTrainingBeatTheMixtureInPlaceOfItsStems) {
  const char* data = std::getenv("DIFFQ_DATA");
  const std::filesystem::path root =
      std::filesystem::path(data && *data ? data : DIFFQ_SOURCE_DIR "/data") / "openmsx";
  if (!std::filesystem::exists(root)) GTEST_SKIP() << "no " << root << "; run scripts/fetch_data.sh openmsx";
  DataSpec music;
  music.name = DataName::openmsx_synthesised;
  music.root = root.string();
  music.music.rate = 16000;
  music.music.segment_seconds = 2;
  music.music.train_segments = 160;
  music.music.valid_segments = 8;
  RunSpec spec = small_run(music);
  spec.model.demucs = {.channels = 8, .depth = 4};
  const DataSplits splits = open_data(music);
  const Batch track = splits.test->batch(std::vector<int64_t>{0}, std::nullopt);
  const BssScores mixture = bss_eval(track.target[0], track.input.expand({4, -1, -1}), {16000, 16000});
  double baseline = 0;
  for (const at::Tensor& stem : mixture.sdr.unbind()) baseline += median_score(stem) / 4;
  RunContext context;
  context.run_id = "0123456789ab";
  const RunRecord record = train_run(spec, splits, *single_rank(), context);
  std::cout << "SDR " << record.run.metric << " dB, of the mixture " << baseline << " dB\n";
  EXPECT_GT(record.run.metric, baseline + 1);
  ASSERT_EQ(record.tracks.size(), 4u);
  EXPECT_EQ(record.tracks[0].track, "flying_scotsman");
  EXPECT_EQ(record.tracks[0].run_id, "0123456789ab");
}

}  // namespace
}  // namespace diffq
