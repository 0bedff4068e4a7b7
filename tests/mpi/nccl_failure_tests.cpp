// The communicator on NCCL when something goes wrong: who is behind is named, and every rank is told.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/mpi/nccl_group.h"

namespace diffq {
namespace {

std::string failure_of_call(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

TEST(Nccl, ARankThatNeverArrivesIsNamed) {
  NcclGroup group(world_size(), 1000ms);
  group.start();
  const at::Tensor bucket = at::ones({64});
  for (int i = 0; i < 2; ++i) {
    group.communicator->start_sum(bucket);
    group.communicator->wait();
  }
  group.communicator->check();
  const auto began = Clock::now();
  if (group.rank() != group.last()) group.communicator->start_sum(bucket);
  const auto trouble = group.wait_for_alarm();
  EXPECT_GE(Clock::now() - began, 900ms);
  EXPECT_LE(Clock::now() - began, 8s);
  EXPECT_FALSE(trouble.starting);
  EXPECT_NE(
      trouble.what.find("{seq 4, op all-reduce, bytes 256, bucket 0} has not ended within 1 s; " +
                        group.name(group.last()) +
                        " is behind: its last is {seq 3, op all-reduce, bytes 256, bucket 0}, its GPU has "
                        "come to seq 3"),
      std::string::npos)
      << trouble.what;
  EXPECT_EQ(group.api.aborted(), 1) << "on every rank";
  EXPECT_EQ(failure_of_call([&] { group.communicator->start_sum(bucket); }), trouble.what)
      << "whoever comes later learns of it";
  EXPECT_EQ(failure_of_call([&] { group.communicator->check(); }), trouble.what)
      << "also who would keep what came of the sums";
  EXPECT_EQ(group.alarms.size(), 1u);
  group.communicator.reset();
  EXPECT_EQ(group.api.misuse(), "");
  group.meet();
}

// Hosts run ahead of their GPUs: all have started the sum, one GPU does not come to it.
TEST(Nccl, AGpuThatIsStuckIsNamed) {
  NcclGroup group(world_size(), 1000ms);
  group.start();
  std::promise<void> gate;
  if (group.rank() == group.last())
    group.api.launch(group.compute, [opened = gate.get_future().share()] { opened.wait(); });
  const at::Tensor bucket = at::ones({64});
  group.communicator->start_sum(bucket);
  const auto trouble = group.wait_for_alarm();
  EXPECT_NE(
      trouble.what.find("; " + group.name(group.last()) +
                        " is behind: its last is {seq 2, op all-reduce, bytes 256, bucket 0}, its GPU has "
                        "come to seq 1"),
      std::string::npos)
      << trouble.what;
  EXPECT_EQ(group.api.aborted(), 1);
  gate.set_value();
  group.meet();
}

TEST(Nccl, AnErrorInTheBackgroundEndsTheWholeGroup) {
  NcclGroup group(world_size());
  group.start();
  const at::Tensor bucket = at::ones({64});
  std::promise<void> gate;  // keeps a sum under way on every rank
  group.api.launch(group.compute, [opened = gate.get_future().share()] { opened.wait(); });
  group.communicator->start_sum(bucket);
  if (group.rank() == group.last()) group.api.lose_peer = true;
  const auto began = Clock::now();
  const auto trouble = group.wait_for_alarm();
  EXPECT_LE(Clock::now() - began, 6s) << "not only at the deadline";
  EXPECT_EQ(trouble.what.find("[" + group.name(group.last()) + "] NCCL: remote process exited"), 0u)
      << trouble.what;
  EXPECT_FALSE(trouble.starting);
  EXPECT_EQ(group.api.aborted(), 1);
  gate.set_value();
  group.meet();
}

TEST(Nccl, AFailingCallEndsTheWholeGroup) {
  NcclGroup group(world_size());
  group.start();
  if (group.rank() == 0) group.api.failing_call = "ncclAllReduce";
  const at::Tensor bucket = at::ones({64});
  // The others' sum has no partner; they must not wait for it until the deadline.
  const std::string failure = failure_of_call([&] { group.communicator->start_sum(bucket); });
  const auto trouble = group.wait_for_alarm();
  const std::string expected = "[" + group.name(0) + "] ncclAllReduce: unhandled system error";
  EXPECT_EQ(trouble.what.find(expected), 0u) << trouble.what;
  if (group.rank() == 0) {
    EXPECT_EQ(failure, trouble.what);
  }
  EXPECT_EQ(group.api.aborted(), 1);
  group.meet();
}

TEST(Nccl, ARankThatCantStartEndsTheStartOnAll) {
  for (const std::string call : {"ncclCommInitRankConfig", "ncclGetUniqueId"}) {
    NcclGroup group(world_size());
    const bool before_they_meet = call == "ncclGetUniqueId";
    const int rank = before_they_meet ? 0 : group.last();
    if (group.rank() == rank) group.api.failing_call = call;
    const auto began = Clock::now();
    const std::string failure = failure_of_call([&] { group.start(); });
    EXPECT_LE(Clock::now() - began, 10s);
    EXPECT_EQ(failure.find("[" + group.name(rank) + "] " + call + ": unhandled system error"), 0u) << failure;
    if (!before_they_meet) {
      EXPECT_TRUE(group.wait_for_alarm().starting);
      EXPECT_EQ(group.api.aborted(), group.rank() == rank ? 0 : 1);
    }
    group.meet();
  }
}

TEST(Nccl, TheStartHasADeadlineToo) {
  NcclGroup group(world_size(), 1000ms);
  group.api.busy_polls = group.rank() == group.last() ? 1 << 30 : 0;  // never gets ready
  const std::string failure = failure_of_call([&] { group.start(); });
  // The others were ready, and wait in their first sum.
  const at::Tensor bucket = at::ones({64});
  if (group.rank() != group.last()) {
    EXPECT_EQ(failure, "");
    group.communicator->start_sum(bucket);
  }
  const auto trouble = group.wait_for_alarm();
  EXPECT_TRUE(trouble.starting);
  EXPECT_NE(trouble.what.find(" has not ended within 1 s"), std::string::npos) << trouble.what;
  if (group.rank() != group.last()) {
    EXPECT_NE(trouble.what.find(group.name(group.last()) + " is behind: its last is {seq 1, op start"),
              std::string::npos)
        << trouble.what;
  }
  group.meet();
}

// Two groups of one world: the trouble of one is not the other's.
TEST(CollectiveWatch, TellsWhoIsBehind) {
  using Places = std::vector<std::optional<CollectivePlace>>;
  using Ranks = std::vector<int>;
  const auto at = [](int64_t reached) { return CollectivePlace{{}, reached}; };
  EXPECT_EQ(ranks_behind(Places{at(5), at(4), at(5)}), (Ranks{1}));
  EXPECT_EQ(ranks_behind(Places{at(5), at(4), at(4)}), (Ranks{1, 2}));
  EXPECT_EQ(ranks_behind(Places{at(5), at(5), at(5)}), Ranks{}) << "it is none of theirs";
  EXPECT_EQ(ranks_behind(Places{at(5), std::nullopt, at(4)}), (Ranks{1})) << "silence comes first";
}

}  // namespace
}  // namespace diffq
