// BSS Eval against the published package (vectors of $DIFFQ_REFERENCE_DIR, default tests/fixtures) and
// against what can be said without it.

#include "trainer/bss_eval.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "tests/quant/hdf5_reader.h"

namespace diffq {
namespace {

/// [sources, samples, channels] of the file as [sources, channels, samples].
at::Tensor signals(const Hdf5File& file, const std::string& dataset) {
  const std::vector<double> values = file.doubles(dataset);
  return torch::tensor(values, at::kDouble).view(file.shape(dataset)).transpose(1, 2);
}

double check_scores(const at::Tensor& ours, const Hdf5File& file, const std::string& dataset) {
  const std::vector<double> values = file.doubles(dataset);
  const at::Tensor theirs = torch::tensor(values, at::kDouble).view(file.shape(dataset));
  EXPECT_EQ(ours.sizes(), theirs.sizes()) << dataset;
  if (ours.sizes() != theirs.sizes()) return 0;
  EXPECT_TRUE(ours.isnan().equal(theirs.isnan())) << dataset << " is NaN elsewhere";
  const at::Tensor off = at::where(ours == theirs, at::zeros_like(ours), (ours - theirs).abs());
  const double worst = off.nan_to_num(0).max().item<double>();
  EXPECT_LE(worst, 1e-3) << dataset;
  return worst;
}

TEST(BssEvalReference, EveryCaseOfEveryFile) {
  const char* chosen = std::getenv("DIFFQ_REFERENCE_DIR");
  const std::filesystem::path folder = chosen && *chosen ? chosen : DIFFQ_SOURCE_DIR "/tests/fixtures";
  int checked = 0, skipped = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".h5") continue;
    const Hdf5File file(entry.path().string());
    for (const std::string& name : file.names("/")) {
      const std::string at = "/" + name;
      if (!file.is_group(at) || !file.has(at + "/references")) {
        ++skipped;
        std::cout << "[ skipped  ] " << entry.path().filename() << at << ": not of this layout\n";
        continue;
      }
      SCOPED_TRACE(entry.path().string() + at);
      const auto whole = [&](const char* attribute) { return int64_t(file.number(at, attribute)); };
      const BssScores scores =
          bss_eval(signals(file, at + "/references"), signals(file, at + "/estimates"),
                   {.window = whole("window"), .hop = whole("hop"), .filter_length = whole("filter_length")});
      double worst = 0;
      for (const auto& [metric, values] : {std::pair{"/sdr", scores.sdr}, std::pair{"/isr", scores.isr},
                                           std::pair{"/sir", scores.sir}, std::pair{"/sar", scores.sar}}) {
        worst = std::max(worst, check_scores(values, file, at + metric));
      }
      ++checked;
      std::cout << "[ checked  ] " << entry.path().filename() << at << ", off by " << worst
                << " dB at most\n";
    }
  }
  std::cout << checked << " cases checked, " << skipped << " skipped, in " << folder << "\n";
  EXPECT_GT(checked, 0) << "no vectors of BSS Eval in " << folder << "; set DIFFQ_REFERENCE_DIR";
}

at::Tensor noise(at::IntArrayRef shape, uint64_t seed) {
  torch::manual_seed(seed);
  return at::randn(shape, at::kDouble);
}

TEST(BssEval, AFilteredSourceIsSpatialDistortionAlone) {
  const at::Tensor truth = noise({2, 1, 9000}, 1);
  // Each estimate is its source, delayed by three samples and halved: no interference, no artifacts but those
  // of the ends.
  at::Tensor heard = at::zeros_like(truth);
  heard.narrow(2, 3, 8997).copy_(truth.narrow(2, 0, 8997) / 2);
  const BssScores scores = bss_eval(truth, heard, {.window = 3000, .hop = 3000, .filter_length = 16});
  EXPECT_EQ(scores.sdr.size(1), 3);
  EXPECT_GT(scores.sir.min().item<double>(), 40);
  // |s - s'/2|² of white noise and a delayed copy is 5/4 of its own.
  EXPECT_NEAR(scores.sdr.mean().item<double>(), -10 * std::log10(1.25), 0.3);
  EXPECT_NEAR(scores.isr.mean().item<double>(), -10 * std::log10(1.25), 0.3);
}

TEST(BssEval, AddedNoiseIsArtifactsAndAddedSourcesAreInterference) {
  const at::Tensor truth = noise({2, 2, 40000}, 2);
  const BssWindows windows{.window = 40000, .hop = 40000, .filter_length = 8};
  const BssScores artifacts = bss_eval(truth, truth + 0.1 * noise({2, 2, 40000}, 3), windows);
  EXPECT_NEAR(artifacts.sar.mean().item<double>(), 20, 0.2);
  EXPECT_GT(artifacts.sir.min().item<double>(), 40);
  const BssScores interference = bss_eval(truth, truth + 0.1 * truth.flip(0), windows);
  EXPECT_NEAR(interference.sir.mean().item<double>(), 20, 0.2);
  EXPECT_GT(interference.sar.min().item<double>(), 60);
  EXPECT_NEAR(interference.sdr.mean().item<double>(), 20, 0.2);
}

TEST(BssEval, WindowsWithASilentSourceAreNotANumber) {
  at::Tensor truth = noise({2, 2, 3000}, 4);
  const at::Tensor heard = truth + 0.1 * noise({2, 2, 3000}, 5);
  truth[1].narrow(1, 1000, 1000).zero_();
  const BssWindows windows{.window = 1000, .hop = 1000, .filter_length = 8};
  const BssScores scores = bss_eval(truth, heard, windows);
  for (const at::Tensor& values : {scores.sdr, scores.isr, scores.sir, scores.sar}) {
    EXPECT_TRUE(values.isnan().any(0).equal(torch::tensor({false, true, false}))) << values;
  }
  // A stem that is silent throughout leaves nothing to judge, and breaks nothing.
  truth[1].zero_();
  EXPECT_TRUE(bss_eval(truth, heard, windows).sdr.isnan().all().item<bool>());
}

TEST(BssEval, EqualSignalsAndSourcesThatDependOnEachOther) {
  const at::Tensor truth = noise({1, 2, 3000}, 6);
  const BssWindows windows{.window = 1000, .hop = 500, .filter_length = 32};
  EXPECT_TRUE(bss_eval(truth, truth, windows).sdr.isinf().all().item<bool>());
  const at::Tensor twice = at::cat({truth, truth});  // no unique filters
  EXPECT_FALSE(bss_eval(twice, twice + 0.1 * noise({2, 2, 3000}, 7), windows).sdr.isnan().any().item<bool>());
  EXPECT_THROW(bss_eval(truth, twice, windows), std::invalid_argument);
}

TEST(UtteranceSdr, IsARatioOfEnergies) {
  const at::Tensor truth = at::ones({1, 1, 100}), none = at::zeros({1, 1, 100});
  EXPECT_NEAR(utterance_sdr(truth, 0.9 * truth)[0].item<double>(), 20, 1e-4);
  EXPECT_NEAR(utterance_sdr(none, none)[0].item<double>(), 0, 1e-12);
}

TEST(Median, LeavesOutWhatIsNotANumber) {
  const double nan = std::nan("");
  EXPECT_EQ(median_score(torch::tensor({3.0, nan, 1.0, 2.0}, at::kDouble)), 2);
  EXPECT_EQ(median_score(torch::tensor({1.0, 2.0, nan, HUGE_VAL, 4.0}, at::kDouble)), 3);
  EXPECT_TRUE(std::isnan(median_score(torch::tensor({nan}, at::kDouble))));
}

}  // namespace
}  // namespace diffq
