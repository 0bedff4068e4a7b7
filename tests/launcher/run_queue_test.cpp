#include "launcher/run_queue.h"

#include <cmath>

#include "tests/launcher/sweeps.h"

namespace diffq {
namespace {

using Failures = std::vector<std::pair<size_t, std::string>>;

RunQueue fresh_queue(const Sweep& sweep) {
  return {sweep, std::vector<RunState>(sweep.runs.size(), RunState::pending), every_run(sweep)};
}

TEST(RunQueue, HandsOutInOrderWhatIsReady) {
  const Sweep sweep = sweep_of({-1, 0, -1, 2, 0});
  RunQueue queue = fresh_queue(sweep);
  EXPECT_EQ(queue.next(), 0u);
  EXPECT_EQ(queue.next(), 2u) << "run 1 waits for run 0";
  EXPECT_EQ(queue.next(), std::nullopt);
  EXPECT_FALSE(queue.exhausted()) << "three may still become ready";
  queue.finish(2);
  EXPECT_EQ(queue.next(), 3u);
  EXPECT_EQ(queue.next(), std::nullopt);
  queue.finish(0);
  EXPECT_EQ(queue.next(), 1u);
  EXPECT_FALSE(queue.exhausted());
  EXPECT_EQ(queue.next(), 4u);
  EXPECT_EQ(queue.next(), std::nullopt);
  EXPECT_TRUE(queue.exhausted()) << "what still runs starts nothing";
  EXPECT_EQ(queue.count(RunState::running), 3u);
  EXPECT_EQ(queue.count(RunState::done), 2u);
}

/// Four targets 1, 2, 4, 8 MB of one front and a run beside it.
Sweep sweep_with_front() {
  Sweep sweep = sweep_of({-1, -1, -1, -1, -1});
  for (size_t i = 0; i < 5; ++i) {
    Run& run = sweep.runs[i];
    run.origin = "benchmarks[0].methods[0]";
    run.spec.method.method = Method::diffq;
    if (i == 4) continue;
    run.front = "f";
    run.spec.method.target_mb = std::exp2(double(i));
  }
  return sweep;
}

TEST(RunQueue, OfAFrontTheRunForItsLargestGap) {
  const Sweep sweep = sweep_with_front();
  RunQueue queue = fresh_queue(sweep);
  EXPECT_EQ(queue.next(), 3u) << "the largest";
  EXPECT_EQ(queue.next(), 0u) << "what runs has its target's size";
  ASSERT_TRUE(queue.gap());
  EXPECT_EQ(queue.gap()->high_mb, 8);
  queue.finish(3, 7.95);
  queue.finish(0, 0.99);
  EXPECT_EQ(queue.next(), 1u);
  EXPECT_EQ(queue.gap()->low_mb, 0.99);
  EXPECT_EQ(queue.gap()->high_mb, 7.95);
  EXPECT_EQ(queue.next(), 2u);
  EXPECT_EQ(queue.next(), 4u);
  EXPECT_FALSE(queue.gap());
}

TEST(RunQueue, AFrontGoesOnFromWhatIsThere) {
  const Sweep sweep = sweep_with_front();
  const double none = kNotApplicable;
  RunQueue queue(sweep,
                 {RunState::done, RunState::pending, RunState::running, RunState::done, RunState::done},
                 every_run(sweep), {0.99, none, none, 7.95, 1.5});
  EXPECT_EQ(queue.next(), 2u) << "the run beside it has filled the lower half";
  EXPECT_EQ(queue.gap()->low_mb, 1.5);
  EXPECT_EQ(queue.next(), 1u);
}

TEST(RunQueue, AFailureReachesWhatWaitsForIt) {
  const Sweep sweep = sweep_of({-1, 0, 1, -1, 2});
  RunQueue queue = fresh_queue(sweep);
  queue.next();
  const Failures failed = queue.fail(0, "broke");
  EXPECT_EQ(failed, (Failures{{0, "broke"},
                              {1, "starts from run run0, which failed"},
                              {2, "starts from run run1, which failed"},
                              {4, "starts from run run2, which failed"}}));
  EXPECT_EQ(queue.next(), 3u);
  EXPECT_TRUE(queue.exhausted());
  EXPECT_EQ(queue.count(RunState::failed), 4u);
}

TEST(RunQueue, AFailureLeavesWhatIsDoneOrRuns) {
  const Sweep sweep = sweep_of({-1, 0, 0, 0});
  RunQueue queue(sweep, {RunState::pending, RunState::done, RunState::pending, RunState::pending},
                 every_run(sweep));
  queue.next();
  EXPECT_EQ(queue.fail(0, "broke").size(), 3u);
  EXPECT_EQ(queue.state(1), RunState::done);
}

TEST(RunQueue, FailuresOfAnEarlierStartReachRunsAddedSince) {
  const Sweep sweep = sweep_of({-1, 0, 1, -1});
  RunQueue queue(sweep, {RunState::failed, RunState::pending, RunState::pending, RunState::pending},
                 every_run(sweep));
  EXPECT_EQ(queue.fail_waiting(),
            (Failures{{1, "starts from run run0, which failed"}, {2, "starts from run run1, which failed"}}));
  EXPECT_TRUE(queue.fail_waiting().empty());
  EXPECT_EQ(queue.state(3), RunState::pending);
}

TEST(RunQueue, GoesOnWhereAnEarlierStartStopped) {
  const Sweep sweep = sweep_of({-1, 0, -1, -1, -1});
  // Running then means that the earlier start was killed: it is pending now.
  RunQueue queue(sweep,
                 {RunState::done, RunState::pending, RunState::running, RunState::failed, RunState::done},
                 every_run(sweep));
  EXPECT_EQ(queue.count(RunState::running), 0u);
  EXPECT_EQ(queue.next(), 1u);
  EXPECT_EQ(queue.next(), 2u);
  EXPECT_EQ(queue.next(), std::nullopt);
  EXPECT_TRUE(queue.exhausted());
}

TEST(RunQueue, HandsOutOnlyWhatIsSelected) {
  const Sweep sweep = sweep_of({-1, 0, -1, 2});
  RunQueue queue(sweep, std::vector<RunState>(4, RunState::pending), {0, 1});
  EXPECT_EQ(queue.next(), 0u);
  EXPECT_EQ(queue.next(), std::nullopt);
  EXPECT_FALSE(queue.exhausted());
  queue.finish(0);
  EXPECT_EQ(queue.next(), 1u);
  EXPECT_TRUE(queue.exhausted());
  EXPECT_EQ(queue.state(2), RunState::pending);
}

TEST(RunQueue, NothingToDoIsExhausted) {
  const Sweep sweep = sweep_of({-1, 0});
  EXPECT_TRUE(RunQueue(sweep, {RunState::done, RunState::done}, every_run(sweep)).exhausted());
  EXPECT_TRUE(RunQueue(sweep, {RunState::pending, RunState::pending}, {}).exhausted());
  EXPECT_FALSE(RunQueue(sweep, {RunState::done, RunState::pending}, every_run(sweep)).exhausted());
  EXPECT_TRUE(RunQueue(sweep, {RunState::failed, RunState::pending}, every_run(sweep)).exhausted())
      << "waits for what will not come";
}

}  // namespace
}  // namespace diffq
