// The threads that stand for ranks are themselves a piece that other tests rely on.
#include "tests/support/thread_communicator.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>

namespace diffq {
namespace {

std::string error_of(int ranks, const std::function<void(Communicator&)>& body) {
  try {
    run_as_ranks(ranks, body);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "no error";
}

TEST(ThreadCommunicator, Sums) {
  for (const int ranks : {1, 2, 5}) {
    run_as_ranks(ranks, [&](Communicator& communicator) {
      const auto mine = static_cast<float>(communicator.rank() + 1);
      const auto sum = static_cast<float>(ranks * (ranks + 1) / 2);
      for (int round = 0; round < 20; ++round) {
        const at::Tensor a = at::full({3}, mine), b = at::full({700}, 2 * mine);
        communicator.start_sum(a);
        communicator.start_sum(b);
        communicator.wait();
        EXPECT_TRUE(a.eq(sum).all().item<bool>() && b.eq(2 * sum).all().item<bool>());
        std::array<double, 2> values{mine, 1};
        communicator.sum(values);
        EXPECT_EQ(values, (std::array<double, 2>{sum, double(ranks)}));
        const at::Tensor c = at::full({4}, mine);
        communicator.broadcast(c);
        EXPECT_TRUE(c.eq(1).all().item<bool>());
      }
    });
  }
}

TEST(ThreadCommunicator, SumsHaveTheSameBitsOnAllRanks) {
  std::vector<at::Tensor> sums(4);
  run_as_ranks(4, [&](Communicator& communicator) {
    const at::Tensor mine = at::pow(at::arange(1, 1001, at::kFloat), 0.1 + communicator.rank());
    communicator.start_sum(mine);
    communicator.wait();
    sums[communicator.rank()] = mine;
  });
  for (int rank = 1; rank < 4; ++rank) EXPECT_TRUE(at::equal(sums[rank], sums[0]));
}

TEST(ThreadCommunicator, AgreeThrowsTheLowestRanksReasonOnAll) {
  std::atomic<int> told = 0;
  run_as_ranks(4, [&](Communicator& communicator) {
    communicator.agree("");
    try {
      communicator.agree(communicator.rank() < 2 ? "" : "rank " + std::to_string(communicator.rank()));
    } catch (const RunFailure& failure) {
      told += failure.what() == std::string("rank 2");
    }
    communicator.agree("");
  });
  EXPECT_EQ(told, 4);
}

TEST(ThreadCommunicator, DifferentCallsAreAnError) {
  const std::string sizes = error_of(2, [](Communicator& communicator) {
    communicator.start_sum(at::zeros({communicator.rank() + 3}));
    communicator.wait();
  });
  EXPECT_EQ(sizes, "ranks make different calls: wait for sums of 3 | wait for sums of 4");
  const std::string calls = error_of(2, [](Communicator& communicator) {
    std::array<double, 1> value{};
    communicator.rank() == 0 ? communicator.agree("") : communicator.sum(value);
  });
  EXPECT_EQ(calls, "ranks make different calls: agree | sum of 1");
}

TEST(ThreadCommunicator, ALeavingRankIsNoticedAndItsReasonReported) {
  const std::string reason = error_of(3, [](Communicator& communicator) {
    if (communicator.rank() == 2) throw std::runtime_error("rank 2 is ill");
    communicator.agree("");
  });
  EXPECT_EQ(reason, "rank 2 is ill");
  const std::string silent = error_of(2, [](Communicator& communicator) {
    if (communicator.rank() == 0) communicator.agree("");
  });
  EXPECT_EQ(silent, "rank 0 waits in agree, but another rank has left");
}

}  // namespace
}  // namespace diffq
