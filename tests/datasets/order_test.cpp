#include "datasets/order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "datasets/dataset.h"
#include "datasets/loader.h"

namespace diffq {
namespace {

using Indices = std::vector<int64_t>;

Indices joined(const std::vector<Indices>& batches) {
  Indices all;
  for (const Indices& batch : batches) all.insert(all.end(), batch.begin(), batch.end());
  return all;
}

Indices counting(int64_t count) {
  Indices indices(count);
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return indices;
}

// Reference values: a separate implementation of Philox4x32-10 in Python, which gives the known answers of
// Random123.
TEST(EpochOrder, IsPinned) {
  EXPECT_EQ(epoch_order(10, 1, 0), (Indices{7, 1, 0, 2, 6, 4, 3, 5, 8, 9}));
  EXPECT_EQ(epoch_order(10, 1, 1), (Indices{5, 1, 8, 6, 2, 0, 3, 7, 4, 9}));
  EXPECT_EQ(epoch_order(10, 2, 0), (Indices{2, 8, 0, 7, 3, 1, 6, 5, 9, 4}));
  EXPECT_EQ(epoch_order(10, (uint64_t{1} << 63) + 5, 7), (Indices{3, 8, 6, 7, 2, 4, 9, 0, 5, 1}));
  const Indices large = epoch_order(50000, 1, 3);
  EXPECT_EQ(Indices(large.begin(), large.begin() + 4), (Indices{15864, 13946, 44420, 39663}));
  EXPECT_EQ(Indices(large.end() - 4, large.end()), (Indices{28598, 32180, 34088, 9024}));
}

TEST(EpochOrder, IsAPermutation) {
  for (const int64_t count : {0, 1, 2, 3, 17, 1000, 60000}) {
    Indices order = epoch_order(count, 5, 2);
    std::ranges::sort(order);
    EXPECT_EQ(order, counting(count)) << count;
  }
}

// Each element is in each place equally often: 2000 epochs of 5, expected 400, standard deviation 18.
TEST(EpochOrder, IsUniform) {
  std::array<std::array<int, 5>, 5> seen{};
  for (int epoch = 0; epoch < 2000; ++epoch) {
    const Indices order = epoch_order(5, 3, epoch);
    for (int place = 0; place < 5; ++place) ++seen[place][order[place]];
  }
  for (const auto& row : seen) {
    for (const int count : row) EXPECT_NEAR(count, 400, 80);
  }
}

// As many draws as samples; of the permutation's first third each sample three times, once as each copy,
// within one batch or, where it ends between them, the next; ranks share the copies.
TEST(RepeatedOrder, HoldsEachSampleThreeTimes) {
  constexpr int64_t kCount = 103, kBatch = 16;
  const Indices order = epoch_order(kCount, 9, 4), repeated = repeated_order(kCount, 9, 4, 3, kBatch);
  ASSERT_EQ(repeated.size(), 103U);
  for (int64_t begin = 0; begin < kCount; begin += kBatch) {
    Indices expected, batch;
    for (int64_t i = begin; i < std::min(begin + kBatch, kCount); ++i) {
      expected.push_back(order[i / 3] + i % 3 * kCopyStride);
      batch.push_back(repeated[i]);
    }
    for (size_t i = 1; i < batch.size(); ++i) {
      EXPECT_NE(batch[i - 1] % kCopyStride, batch[i] % kCopyStride) << "neighbours";
      EXPECT_LE(batch[i - 1] / kCopyStride, batch[i] / kCopyStride) << "first copies go first";
    }
    std::ranges::sort(expected);
    std::ranges::sort(batch);
    EXPECT_EQ(batch, expected) << begin;
  }
  EXPECT_EQ(repeated_order(kCount, 9, 4, 1, kBatch), order);
  // Three ranks, a batch of whole triples: each has one copy of each sample.
  const Indices whole = epoch_order(99, 9, 4);
  const auto of_rank = [](int rank) { return training_batches(99, 12, 1, 9, 4, rank, 3, 0, 3); };
  for (int rank = 0; rank < 3; ++rank) {
    for (size_t step = 0; step < 8; ++step) {
      Indices samples = of_rank(rank)[step];
      for (int64_t& sample : samples) {
        EXPECT_EQ(sample / kCopyStride, rank);
        sample %= kCopyStride;
      }
      const auto first = whole.begin() + 4 * static_cast<int64_t>(step);
      EXPECT_EQ(samples, Indices(first, first + 4));
    }
  }
  EXPECT_THROW(repeated_order(10, 1, 0, 0, 4), std::invalid_argument);
  EXPECT_THROW(repeated_order(10, 1, 0, 3, 0), std::invalid_argument);
}

TEST(RankSlice, CoversAllWithLengthsThatDifferByAtMostOne) {
  for (const int64_t count : {0, 1, 3, 7, 10, 10001}) {
    for (const int size : {1, 2, 3, 4, 7}) {
      int64_t next = 0;
      for (int rank = 0; rank < size; ++rank) {
        const Slice slice = rank_slice(count, rank, size);
        EXPECT_EQ(slice.begin, next);
        EXPECT_GE(slice.end - slice.begin, count / size);
        EXPECT_LE(slice.end - slice.begin, (count + size - 1) / size);
        next = slice.end;
      }
      EXPECT_EQ(next, count);
    }
  }
  EXPECT_THROW(rank_slice(10, 2, 2), std::invalid_argument);
  EXPECT_THROW(rank_slice(10, -1, 2), std::invalid_argument);
  EXPECT_THROW(rank_slice(10, 0, 0), std::invalid_argument);
}

TEST(TrainingBatches, OfAllRanksTogetherAreTheGlobalBatch) {
  constexpr int64_t kCount = 103, kBatch = 16, kSteps = 6;  // the last 7 samples are dropped
  const Indices order = epoch_order(kCount, 9, 4);
  for (const int size : {1, 2, 4}) {
    for (const int64_t accumulate : {1, 2}) {
      std::vector<std::vector<Indices>> of_rank;
      for (int rank = 0; rank < size; ++rank) {
        of_rank.push_back(training_batches(kCount, kBatch, accumulate, 9, 4, rank, size));
        ASSERT_EQ(of_rank.back().size(), static_cast<size_t>(kSteps * accumulate));
      }
      for (int64_t step = 0; step < kSteps; ++step) {
        Indices global;
        for (int rank = 0; rank < size; ++rank) {
          for (int64_t i = 0; i < accumulate; ++i) {
            const Indices& part = of_rank[rank][step * accumulate + i];
            EXPECT_EQ(part.size(), static_cast<size_t>(kBatch / size / accumulate));
            global.insert(global.end(), part.begin(), part.end());
          }
        }
        EXPECT_EQ(global, Indices(order.begin() + step * kBatch, order.begin() + (step + 1) * kBatch))
            << size << " ranks, " << accumulate << " parts, step " << step;
      }
    }
  }
}

TEST(TrainingBatches, StartAtAnyStep) {
  const auto all = training_batches(100, 12, 2, 1, 0, 1, 3);
  const auto rest = training_batches(100, 12, 2, 1, 0, 1, 3, 5);
  ASSERT_EQ(all.size(), 16U);
  EXPECT_EQ(rest, (std::vector<Indices>(all.begin() + 10, all.end())));
  EXPECT_TRUE(training_batches(100, 12, 2, 1, 0, 1, 3, 8).empty());
  EXPECT_TRUE(training_batches(11, 12, 2, 1, 0, 1, 3).empty());
}

TEST(TrainingBatches, MustBeDivisible) {
  EXPECT_THROW(training_batches(100, 10, 1, 1, 0, 0, 4), std::invalid_argument);
  EXPECT_THROW(training_batches(100, 12, 2, 1, 0, 0, 4), std::invalid_argument);
  EXPECT_THROW(training_batches(100, 0, 1, 1, 0, 0, 1), std::invalid_argument);
  EXPECT_THROW(training_batches(100, 12, 1, 1, 0, 3, 3), std::invalid_argument);
}

TEST(EvaluationBatches, ShowEachSampleExactlyOnce) {
  for (const int64_t count : {0, 1, 3, 100, 101, 997}) {
    for (const int size : {1, 2, 3, 4}) {
      for (const int64_t batch_size : {1, 7, 100, 5000}) {
        Indices seen;
        for (int rank = 0; rank < size; ++rank) {
          for (const Indices& batch : evaluation_batches(count, batch_size, rank, size)) {
            EXPECT_FALSE(batch.empty());
            EXPECT_LE(batch.size(), static_cast<size_t>(batch_size));
            seen.insert(seen.end(), batch.begin(), batch.end());
          }
        }
        std::ranges::sort(seen);
        EXPECT_EQ(seen, counting(count)) << size << " ranks, batches of " << batch_size;
      }
    }
  }
  EXPECT_EQ(joined(evaluation_batches(10, 4, 1, 2)), (Indices{5, 6, 7, 8, 9}));
  EXPECT_THROW(evaluation_batches(10, 0, 0, 1), std::invalid_argument);
}

}  // namespace
}  // namespace diffq
