#include "launcher/time_left.h"

#include <gtest/gtest.h>

#include "sweeps.h"

namespace diffq {
namespace {

using namespace std::chrono_literals;

/// Two entries of "benchmarks": run 0 is fp32 of the first, 1 to 3 are DiffQ of three strengths, 4 starts
/// from run 0 with twice the epochs, 5 is of the second entry.
Sweep sweep() {
  Sweep sweep = sweep_of({-1, -1, -1, -1, 0, -1});
  for (size_t run = 0; run < sweep.runs.size(); ++run) {
    Run& each = sweep.runs[run];
    each.spec.train.epochs = run == 4 ? 20 : 10;
    each.config = {{"seed", run}, {"method", {{"method", "diffq"}, {"lambda", run}}}};
  }
  sweep.runs[0].config["method"] = {{"method", "fp32"}};
  sweep.runs[4].config["method"] = {{"method", "lsq"}, {"bits", 4}};
  sweep.runs[5].origin = "benchmarks[1].methods[0]";
  return sweep;
}

class TimeLeftTest : public testing::Test {
 protected:
  static TimeLeft::Time at(double seconds) {
    return TimeLeft::Time(1h) +
           std::chrono::duration_cast<TimeLeft::Time::duration>(std::chrono::duration<double>(seconds));
  }
  /// After step `step` of epoch `epoch`, of 10 epochs of 10 steps.
  static RunProgress after(int64_t epoch, int64_t step) { return {epoch, 10, step, 10, 0}; }
  /// A run with 5 s before its first step, 1 s for each of 100, 20 s after the last, on group 0.
  void finish(TimeLeft& left, size_t run, double from) {
    left.started(0, run, at(from));
    left.step(0, after(1, 1), at(from + 6));
    left.step(0, after(10, 10), at(from + 105));
    left.done(0, at(from + 125));
  }
  const Sweep sweep_ = sweep();
};

TEST_F(TimeLeftTest, NothingIsKnownBeforeTheFirstSteps) {
  TimeLeft left(sweep_, 1);
  left.started(0, 0, at(0));
  const TimeEstimate estimate = left.estimate({1, 2}, at(3));
  EXPECT_EQ(estimate.seconds, 0);
  EXPECT_EQ(estimate.unknown_runs, 3);
}

TEST_F(TimeLeftTest, StepsOfTheRunAtWorkTell) {
  TimeLeft left(sweep_, 1);
  left.started(0, 1, at(0));
  left.step(0, after(1, 1), at(6));
  left.step(0, after(5, 1), at(46));  // 41 of 100 steps, at 1 s each
  EXPECT_NEAR(left.estimate({}, at(46)).seconds, 59, 1e-6);
  EXPECT_NEAR(left.estimate({}, at(48)).seconds, 57, 1e-6) << "time goes on between steps";
  // A run like it: 6 s until its first step, and as many steps.
  EXPECT_NEAR(left.estimate({2}, at(46)).seconds, 59 + 106, 1e-6);
}

TEST_F(TimeLeftTest, FinishedRunsTellOfTheirKind) {
  TimeLeft left(sweep_, 1);
  finish(left, 1, 0);
  // 126 s: the first step counts as one of 100 at the pace of the other 99, with the 6 s before it.
  EXPECT_NEAR(left.estimate({2, 3}, at(130)).seconds, 2 * 126, 1e-6);
  // At work, what comes after the last step counts too, and only what is left of it.
  left.started(0, 2, at(130));
  EXPECT_NEAR(left.estimate({}, at(140)).seconds, 116, 1e-6) << "no step yet: less what has passed";
  left.step(0, after(1, 1), at(136));
  left.step(0, after(6, 1), at(186));
  EXPECT_NEAR(left.estimate({}, at(186)).seconds, 49 + 20, 1e-6);
  left.step(0, after(10, 10), at(235));
  EXPECT_NEAR(left.estimate({}, at(245)).seconds, 10, 1e-6);
  EXPECT_EQ(left.estimate({}, at(300)).seconds, 0) << "never below nothing";
}

TEST_F(TimeLeftTest, OtherMethodsOfABenchmarkTellByTheirEpochs) {
  TimeLeft left(sweep_, 1);
  finish(left, 0, 0);
  EXPECT_NEAR(left.estimate({1}, at(130)).seconds, 126, 1e-6);
  EXPECT_NEAR(left.estimate({4}, at(130)).seconds, 252, 1e-6) << "twice the epochs";
  const TimeEstimate estimate = left.estimate({1, 5}, at(130));
  EXPECT_NEAR(estimate.seconds, 126, 1e-6);
  EXPECT_EQ(estimate.unknown_runs, 1) << "another benchmark tells nothing";
  finish(left, 1, 200);
  finish(left, 1, 400);
  EXPECT_NEAR(left.estimate({1}, at(530)).seconds, 126, 1e-6);
}

TEST_F(TimeLeftTest, ARunThatGoesOnTellsOfAWholeOne) {
  TimeLeft left(sweep_, 1);
  left.started(0, 1, at(0));
  left.step(0, after(9, 1), at(5));  // from the checkpoint after 80 of 100 steps
  left.step(0, after(10, 10), at(24));
  left.done(0, at(44));
  EXPECT_NEAR(left.estimate({2}, at(44)).seconds, 5 + 100 + 20, 1e-6);
  // One that has but its last step to do tells of none.
  TimeLeft other(sweep_, 1);
  other.started(0, 1, at(0));
  other.step(0, after(10, 10), at(5));
  other.done(0, at(8));
  EXPECT_EQ(other.estimate({2}, at(8)).unknown_runs, 1);
}

TEST_F(TimeLeftTest, EarlierStartsTellUntilThisOneDoes) {
  TimeLeft left(sweep_, 1);
  left.earlier(1, 500);
  left.earlier(5, kNotApplicable);
  EXPECT_NEAR(left.estimate({2}, at(0)).seconds, 500, 1e-6);
  EXPECT_EQ(left.estimate({5}, at(0)).unknown_runs, 1);
  finish(left, 1, 0);
  EXPECT_NEAR(left.estimate({2}, at(130)).seconds, 126, 1e-6);
}

TEST_F(TimeLeftTest, GroupsThatWaitForOneRunBeginAfterIt) {
  Sweep chain = sweep_of({-1, 0, 0, 0, 0});
  for (auto& run : chain.runs) run.spec.train.epochs = 10;
  TimeLeft left(chain, 3);
  finish(left, 0, 0);
  EXPECT_NEAR(left.estimate({0, 1, 2, 3, 4}, at(130)).seconds, 3 * 126, 1e-6) << "1, then 3, then 1";
  TimeLeft many(chain, 8);
  finish(many, 0, 0);
  EXPECT_NEAR(many.estimate({0, 1, 2, 3, 4}, at(130)).seconds, 2 * 126, 1e-6);
}

TEST_F(TimeLeftTest, ARunWithoutAStepLeftTellsNothing) {
  TimeLeft left(sweep_, 1);
  left.started(0, 1, at(0));  // from the checkpoint after its last step
  left.done(0, at(30));
  EXPECT_EQ(left.estimate({2}, at(30)).unknown_runs, 1);
  // What trains nothing takes what it takes.
  Sweep ptq = sweep_;
  for (auto& run : ptq.runs) run.spec.train.epochs = 0;
  TimeLeft of_ptq(ptq, 1);
  of_ptq.started(0, 1, at(0));
  of_ptq.done(0, at(30));
  EXPECT_NEAR(of_ptq.estimate({2}, at(30)).seconds, 30, 1e-6);
}

TEST_F(TimeLeftTest, ThisStartsOtherMethodsCountBeforeEarlierStarts) {
  TimeLeft left(sweep_, 1);
  left.earlier(1, 36000);
  finish(left, 0, 0);
  EXPECT_NEAR(left.estimate({2}, at(130)).seconds, 126, 1e-6);
}

TEST_F(TimeLeftTest, RunsThatFailTellNothing) {
  TimeLeft left(sweep_, 1);
  left.started(0, 1, at(0));
  left.step(0, after(1, 1), at(6));
  left.step(0, after(2, 1), at(16));
  left.dropped(0);
  EXPECT_EQ(left.estimate({2}, at(20)).unknown_runs, 1);
}

TEST_F(TimeLeftTest, GroupsWorkSideBySideInTheOrderOfTheQueue) {
  TimeLeft left(sweep_, 2);
  finish(left, 0, 0);  // 126 s a run of the first benchmark, 252 s of run 4
  EXPECT_NEAR(left.estimate({1, 2}, at(130)).seconds, 126, 1e-6);
  EXPECT_NEAR(left.estimate({1, 2, 3}, at(130)).seconds, 252, 1e-6);
  // Run 4 starts from run 0: it begins when that is done, and 1 is begun before it.
  EXPECT_NEAR(left.estimate({0, 4}, at(130)).seconds, 126 + 252, 1e-6);
  EXPECT_NEAR(left.estimate({0, 1, 2, 4}, at(130)).seconds, 126 + 252, 1e-6);
  // A third group has nothing to do before run 0 is done, and does not begin with what starts from it
  // earlier.
  TimeLeft three(sweep_, 3);
  finish(three, 0, 0);
  EXPECT_NEAR(three.estimate({0, 4}, at(130)).seconds, 126 + 252, 1e-6);
  left.started(0, 0, at(130));
  EXPECT_NEAR(left.estimate({4}, at(156)).seconds, 100 + 252, 1e-6) << "it waits for the run at work";
}

TEST(TimeEstimateText, RoundsUpToMinutes) {
  EXPECT_EQ(text_of(TimeEstimate{}), "");
  EXPECT_EQ(text_of(TimeEstimate{0, 2}), "no time known yet of 2 runs");
  EXPECT_EQ(text_of(TimeEstimate{1, 0}), "about 1 min left");
  EXPECT_EQ(text_of(TimeEstimate{61, 1}),
            "about 2 min left, not counting 1 run of which nothing is known yet");
  EXPECT_EQ(text_of(TimeEstimate{7800, 0}), "about 2 h 10 min left");
  EXPECT_EQ(text_of(TimeEstimate{200000, 0}), "about 2 d 7 h left");
  EXPECT_EQ(text_of(TimeEstimate{1e300, 0}), "") << "from a file, anything may come";
}

}  // namespace
}  // namespace diffq
