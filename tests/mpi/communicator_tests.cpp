#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <random>
#include <thread>

#include "tests/mpi/groups.h"

namespace diffq {
namespace {

// Whole numbers below 2^20: sums over 16 ranks are exact in float32, in any order.
float entry(int rank, int64_t bucket, int64_t index, int round) {
  return static_cast<float>((rank * 7919 + bucket * 104729 + index * 31 + round * 17) % (1 << 20)) -
         (1 << 19);
}

at::Tensor filled(int rank, int64_t bucket, int64_t numel, int round) {
  at::Tensor tensor = at::empty({numel}, at::kFloat);
  float* data = tensor.mutable_data_ptr<float>();
  for (int64_t i = 0; i < numel; ++i) data[i] = entry(rank, bucket, i, round);
  return tensor;
}

at::Tensor expected_sum(int ranks, int64_t bucket, int64_t numel, int round) {
  at::Tensor sum = at::zeros({numel}, at::kFloat);
  for (int rank = 0; rank < ranks; ++rank) sum.add_(filled(rank, bucket, numel, round));
  return sum;
}

// All groups of all sizes: they work side by side, each on sums of its own.
class EveryGroup : public testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Ranks, EveryGroup, testing::Values(1, 2, 4));

TEST_P(EveryGroup, SumsOfManyBucketsAreExact) {
  Group group(GetParam());
  ASSERT_EQ(group->size(), GetParam());
  const std::vector<int64_t> sizes{1, 3, 1000, 65536, 7, 300001, 2, 4096, 50000, 1};
  for (int round = 0; round < 20; ++round) {
    std::vector<at::Tensor> buckets;
    for (size_t b = 0; b < sizes.size(); ++b) {
      buckets.push_back(filled(group->rank(), static_cast<int64_t>(b) + group.number(), sizes[b], round));
      group->start_sum(buckets.back());
    }
    group->wait();
    for (size_t b = 0; b < sizes.size(); ++b) {
      const auto sum = expected_sum(group->size(), static_cast<int64_t>(b) + group.number(), sizes[b], round);
      ASSERT_TRUE(at::equal(buckets[b], sum)) << "bucket " << b << ", round " << round;
    }
  }
}

TEST_P(EveryGroup, SumsOfSlicesLeaveTheirSurroundingsAlone) {
  Group group(GetParam());
  const at::Tensor buffer = filled(group->rank(), 0, 1000, 0), before = buffer.clone();
  group->start_sum(buffer.slice(0, 100, 400));
  group->start_sum(buffer.slice(0, 400, 900));
  group->wait();
  const at::Tensor sum = expected_sum(group->size(), 0, 1000, 0);
  EXPECT_TRUE(at::equal(buffer.slice(0, 100, 900), sum.slice(0, 100, 900)));
  EXPECT_TRUE(at::equal(buffer.slice(0, 0, 100), before.slice(0, 0, 100)));
  EXPECT_TRUE(at::equal(buffer.slice(0, 900, 1000), before.slice(0, 900, 1000)));
}

TEST_P(EveryGroup, WaitingForNothingReturns) {
  Group group(GetParam());
  group->wait();
  group->wait();
}

// What overlap with backward rests on: a large sum (it needs many rounds of messages) is there although
// nobody has called wait(). Without the progress thread the memory stays as it was.
TEST_P(EveryGroup, SumsCompleteWhileTheRankDoesOtherThings) {
  Group group(GetParam());
  const int64_t numel = 1 << 21;
  const at::Tensor bucket = filled(group->rank(), 1, numel, 0),
                   sum = expected_sum(group->size(), 1, numel, 0);
  group->start_sum(bucket);
  bool complete = false;
  for (int turn = 0; turn < 4000 && !complete; ++turn) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    complete = at::equal(bucket, sum);
  }
  EXPECT_TRUE(complete);
  group->wait();
  EXPECT_TRUE(at::equal(bucket, sum));
}

TEST_P(EveryGroup, BroadcastsEveryTypeAndSize) {
  Group group(GetParam());
  for (const int64_t numel : {int64_t{0}, int64_t{1}, int64_t{1000003}}) {
    for (const auto type : {at::kFloat, at::kDouble, at::kLong, at::kByte}) {
      const at::Tensor from_root = at::arange(numel, at::kLong).add_(group.number()).to(type);
      const at::Tensor tensor = group->rank() == 0 ? from_root.clone() : at::zeros({numel}, type);
      group->broadcast(tensor);
      EXPECT_TRUE(at::equal(tensor, from_root)) << numel << " of " << type;
    }
  }
  EXPECT_EQ(group->broadcast(group->rank() == 0 ? 41 + group.number() : -5), 41 + group.number());
}

TEST_P(EveryGroup, SumsDoublesInDouble) {
  Group group(GetParam());
  // 2^40 + rank: would be lost in float32.
  double values[3] = {std::ldexp(1, 40) + group->rank(), 1, -0.5 * group->rank()};
  group->sum(values);
  const double n = group->size();
  EXPECT_EQ(values[0], n * std::ldexp(1, 40) + n * (n - 1) / 2);
  EXPECT_EQ(values[1], n);
  EXPECT_EQ(values[2], -n * (n - 1) / 4);
}

TEST_P(EveryGroup, AgreesOnTheLowestFailingRank) {
  Group group(GetParam());
  const int ranks = group->size();
  group->agree("");
  for (int lowest = 0; lowest < ranks; ++lowest) {
    for (const int other : {lowest, ranks - 1}) {
      const bool fails = group->rank() == lowest || group->rank() == other;
      const std::string mine = "reason " + std::to_string(group->rank()) + std::string(5000, 'x');
      std::string reason;
      try {
        group->agree(fails ? mine : "");
      } catch (const RunFailure& failure) {
        reason = failure.what();
      }
      const std::string origin = "[rank " + std::to_string(lowest) + "/" + std::to_string(ranks) + " host" +
                                 std::to_string(group.number()) + "] ";
      const std::string text = "reason " + std::to_string(lowest) + std::string(5000, 'x');
      if (ranks > 1) {
        EXPECT_EQ(reason, origin + text);
      } else {
        EXPECT_NE(reason.find(text), std::string::npos);
      }
    }
  }
  group->agree("");
}

// Groups that make very different calls at the same time do not disturb each other.
TEST(Groups, WorkSideBySide) {
  for (const int size : group_sizes()) {
    Group group(size);
    std::mt19937 random(100 + static_cast<unsigned>(group.number()));
    for (int call = 0; call < 200; ++call) {
      const int64_t numel = 1 + static_cast<int64_t>(random() % 3000);
      switch (random() % 4) {
        case 0: {
          const at::Tensor one = filled(group->rank(), group.number(), numel, call);
          const at::Tensor two = filled(group->rank(), group.number() + 9, numel, call);
          group->start_sum(one);
          group->start_sum(two);
          group->wait();
          ASSERT_TRUE(at::equal(one, expected_sum(size, group.number(), numel, call)));
          ASSERT_TRUE(at::equal(two, expected_sum(size, group.number() + 9, numel, call)));
          break;
        }
        case 1: {
          const at::Tensor tensor = filled(group->rank(), group.number(), numel, call);
          group->broadcast(tensor);
          ASSERT_TRUE(at::equal(tensor, filled(0, group.number(), numel, call)));
          break;
        }
        case 2: {
          double values[1] = {static_cast<double>(group->rank() + call)};
          group->sum(values);
          ASSERT_EQ(values[0], size * call + size * (size - 1) / 2.0);
          break;
        }
        default:
          group->agree("");
      }
    }
  }
}

}  // namespace
}  // namespace diffq
