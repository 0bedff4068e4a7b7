#include "trainer/mixup.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "trainer/task.h"

namespace diffq {
namespace {

constexpr MixSpec kMixup{.mixup = 0.8}, kCutmix{.cutmix = 1.0}, kBoth{.mixup = 0.8, .cutmix = 1.0};

Batch random_batch(int64_t count) {
  torch::manual_seed(4);
  return {at::randn({count, 3, 6, 8}), at::randint(5, {count}, at::kLong)};
}

TEST(Mixup, IsTheStatedMixtureOfNeighbours) {
  const Batch batch = random_batch(8);
  for (const MixSpec& spec : {kMixup, kCutmix, kBoth}) {
    const Batch mixed = mix_batch(batch, 5, spec, 7, 2, 40);
    for (int64_t i = 0; i < 8; ++i) {
      const PairMix mix = draw_pair_mix(spec, 6, 8, 7, 2, 20 + i / 2);
      const at::Tensor own = batch.input[i], other = batch.input[i ^ 1];
      double taken = 0;
      for (int64_t y = 0; y < 6; ++y) {
        for (int64_t x = 0; x < 8; ++x) {
          const bool inside = mix.cut && y >= mix.top && y < mix.bottom && x >= mix.left && x < mix.right;
          taken += inside;
          const double share = mix.cut ? (inside ? 0 : 1) : mix.share;
          for (int64_t c = 0; c < 3; ++c) {
            const double expected =
                share * own[c][y][x].item<double>() + (1 - share) * other[c][y][x].item<double>();
            ASSERT_NEAR(mixed.input[i][c][y][x].item<double>(), expected, 1e-6);
          }
        }
      }
      if (mix.cut) {
        EXPECT_NEAR(mix.share, 1 - taken / 48, 1e-12);
      }
      std::vector<double> target(5, 0);
      target[static_cast<size_t>(batch.target[i].item<int64_t>())] += mix.share;
      target[static_cast<size_t>(batch.target[i ^ 1].item<int64_t>())] += 1 - mix.share;
      for (int64_t k = 0; k < 5; ++k)
        EXPECT_NEAR(mixed.target[i][k].item<double>(), target[static_cast<size_t>(k)], 1e-6);
    }
  }
}

TEST(Mixup, IsTheSameForAnyPartsOfABatch) {
  const Batch batch = random_batch(8), whole = mix_batch(batch, 5, kBoth, 7, 2, 16);
  for (int64_t first = 0; first < 8; first += 2) {
    const Batch part = mix_batch({batch.input.narrow(0, first, 2), batch.target.narrow(0, first, 2)}, 5,
                                 kBoth, 7, 2, 16 + first);
    EXPECT_TRUE(at::equal(part.input, whole.input.narrow(0, first, 2)));
    EXPECT_TRUE(at::equal(part.target, whole.target.narrow(0, first, 2)));
  }
  EXPECT_FALSE(at::equal(mix_batch(batch, 5, kBoth, 7, 3, 16).input, whole.input)) << "another epoch";
  EXPECT_FALSE(at::equal(mix_batch(batch, 5, kBoth, 8, 2, 16).input, whole.input)) << "another seed";
  EXPECT_TRUE(at::equal(mix_batch(batch, 5, {}, 7, 2, 16).target, batch.target)) << "off";
  EXPECT_THROW(mix_batch(random_batch(3), 5, kBoth, 7, 2, 16), c10::Error);
}

TEST(Mixup, SharesAreBetaDistributed) {
  constexpr int64_t kPairs = 40000;
  for (const double alpha : {0.2, 0.8, 1.0, 3.0}) {
    double sum = 0, squares = 0;
    for (int64_t pair = 0; pair < kPairs; ++pair) {
      const double share = draw_pair_mix({.mixup = alpha}, 8, 8, 3, 1, pair).share - 0.5;
      sum += share;
      squares += share * share;
    }
    const double variance = 1 / (4 * (2 * alpha + 1));
    EXPECT_NEAR(sum / kPairs, 0, 5 * std::sqrt(variance / kPairs)) << alpha;
    EXPECT_NEAR(squares / kPairs / variance, 1, 0.03) << alpha;
  }
  int64_t cuts = 0;
  for (int64_t pair = 0; pair < kPairs; ++pair) cuts += draw_pair_mix(kBoth, 8, 8, 3, 1, pair).cut;
  EXPECT_NEAR(static_cast<double>(cuts) / kPairs, 0.5, 0.013);
}

TEST(LabelSmoothing, IsSpreadOverAllClasses) {
  const ImageShape shape{1, 8, 8, 4};
  RunSpec spec{.model = {ModelName::small_cnn, false}};
  const auto plain = make_task(spec, shape);
  spec.train.label_smoothing = 0.2;
  const auto smooth = make_task(spec, shape);
  const Batch batch{at::randn({6, 1, 8, 8}), at::tensor({0, 1, 2, 3, 0, 1}, at::kLong)};
  const at::Tensor own = at::one_hot(batch.target, 4).to(at::kFloat);
  const double expected = plain->loss({batch.input, own * 0.8 + 0.05}).item<double>();
  EXPECT_NEAR(smooth->loss(batch).item<double>(), expected, 1e-5);
  EXPECT_NEAR(smooth->loss({batch.input, own}).item<double>(), expected, 1e-5) << "of probabilities too";
  EXPECT_GT(std::abs(expected - plain->loss(batch).item<double>()), 1e-3);
}

}  // namespace
}  // namespace diffq
