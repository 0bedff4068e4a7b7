#include "launcher/sweep_state.h"

#include <cmath>

#include "tests/launcher/sweeps.h"
#include "tests/support/idx_files.h"
#include "trainer/checkpoint.h"

namespace diffq {
namespace {

// Two benchmarks on the same data and model, two seeds: an fp32 run and two that start from it in each.
Sweep real_sweep() {
  const std::string methods =
      R"([{"method": "fp32"}, {"method": "ptq", "bits": 4}, {"method": "diffq", "lambda": 1}])";
  const std::string benchmark =
      R"({"data": {"name": "mnist", "root": "d"}, "model": {"name": "small_cnn"}, "methods": )" + methods;
  return read_sweep(R"({"sweep": "s", "seeds": [1, 2], "benchmarks": [)" + benchmark + "}, " + benchmark +
                        R"(, "train": {"epochs": 3}}]})",
                    "s.json", {}, {[](const DataSpec&) { return "fixed"; }, {}});
}

RunRecord record_of(const Run& run, double metric) {
  RunRecord record;
  record.run = planned_row(run, 1);
  record.run.status = "done";
  record.run.metric = metric;
  record.epochs.push_back({run.run_id, 1});
  record.layers.push_back({run.run_id, "conv1.weight"});
  return record;
}

class SweepStateTest : public testing::Test {
 protected:
  SweepStateTest() : sweep_(real_sweep()) { start(); }

  void start(bool retry_failed = false) {
    state_.reset();
    warnings_.clear();
    FolderState earlier = read_folder(folder_.path(), sweep_, retry_failed, warnings_);
    state_.emplace(sweep_, std::move(earlier), every_run(sweep_), folder_.path(),
                   std::vector<EnvironmentRow>(2));
  }

  // As a group does it: the run's own file first, then the word to the queue.
  void finish(size_t run, double metric) {
    const RunRecord record = record_of(sweep_.runs[run], metric);
    std::filesystem::create_directories(result_file(run).parent_path());
    ResultFile file;
    file.runs = {record.run};
    file.epochs = record.epochs;
    file.layers = record.layers;
    write_results(result_file(run), file);
    state_->done(run, record, sums_of_run(result_file(run).parent_path()));
  }

  std::filesystem::path result_file(size_t run) const {
    return folder_.path() / "runs" / sweep_.runs[run].run_id / "result.h5";
  }
  const RunRow& row(size_t run) { return (results_ = state_->results()).runs[run]; }
  std::string journal() const { return content_of(folder_.path() / "journal.jsonl"); }

  TemporaryFolder folder_;
  Sweep sweep_;
  std::vector<std::string> warnings_;
  std::optional<SweepState> state_;
  ResultFile results_;
};

TEST_F(SweepStateTest, AFreshFolderHasEverythingPending) {
  EXPECT_EQ(state_->count(RunState::pending), 12u);
  for (size_t run = 0; run < 12; ++run) EXPECT_EQ(row(run).status, "pending");
  EXPECT_TRUE(warnings_.empty());
  const auto events = read_journal(folder_.path() / "journal.jsonl");
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0]["event"], "sweep_started");
  EXPECT_EQ(events[0]["sweep"], "s");
  EXPECT_EQ(events[0]["runs"], 12);
  EXPECT_EQ(events[0]["ranks"], 2);
}

TEST_F(SweepStateTest, PlannedRowsSayWhatTheRunIs) {
  for (size_t i = 0; i < sweep_.runs.size(); ++i) {
    const auto& run = sweep_.runs[i];
    const RunRow planned = row(i);
    EXPECT_EQ(planned.run_id, run.run_id);
    EXPECT_EQ(planned.dataset, "mnist");
    EXPECT_EQ(planned.model, "small_cnn");
    EXPECT_EQ(planned.seed, static_cast<int64_t>(run.spec.seed));
    const bool diffq = run.spec.method.method == Method::diffq, ptq = run.spec.method.method == Method::ptq;
    EXPECT_EQ(planned.method, diffq ? "diffq" : ptq ? "ptq" : "fp32");
    EXPECT_EQ(diffq, planned.lambda == 1);
    EXPECT_EQ(diffq, planned.group_size == 8);
    EXPECT_EQ(ptq, planned.bits == 4);
    EXPECT_EQ(!diffq, std::isnan(planned.lambda));
    EXPECT_EQ(!ptq, std::isnan(planned.bits));
    EXPECT_TRUE(std::isnan(planned.metric));
    EXPECT_EQ(nlohmann::json::parse(planned.config_json), run.config);
  }
}

TEST_F(SweepStateTest, EveryRowGetsTheMetricOfItsOwnFp32Run) {
  std::map<std::pair<std::string, uint64_t>, double> expected;
  for (size_t i = 0; i < sweep_.runs.size(); ++i) {
    const auto& run = sweep_.runs[i];
    if (run.spec.method.method != Method::fp32) continue;
    const double metric = 50 + static_cast<double>(i);
    expected[{run.origin.substr(0, 13), run.spec.seed}] = metric;
    finish(i, metric);
  }
  ASSERT_EQ(expected.size(), 4u) << "two benchmarks, two seeds";
  for (size_t i = 0; i < sweep_.runs.size(); ++i) {
    const auto& run = sweep_.runs[i];
    EXPECT_EQ(row(i).metric_fp32, (expected[{run.origin.substr(0, 13), run.spec.seed}])) << run.origin;
  }
}

TEST_F(SweepStateTest, WithoutItsFp32RunThereIsNoFp32Metric) {
  state_->next(0);
  state_->failed(0, "broke");
  for (size_t i = 0; i < sweep_.runs.size(); ++i) EXPECT_TRUE(std::isnan(row(i).metric_fp32));
}

TEST_F(SweepStateTest, ADoneRunStaysDone) {
  state_->next(0);
  finish(0, 91.5);
  start();
  EXPECT_TRUE(warnings_.empty());
  EXPECT_EQ(state_->count(RunState::done), 1u);
  EXPECT_EQ(row(0).status, "done");
  EXPECT_EQ(row(0).metric, 91.5);
  EXPECT_EQ(results_.epochs.size(), 1u);
  EXPECT_EQ(results_.layers.size(), 1u);
  EXPECT_EQ(state_->next(0), 1u);
}

TEST_F(SweepStateTest, AStartedRunIsPendingAgain) {
  EXPECT_EQ(state_->next(0), 0u);
  start();
  EXPECT_EQ(state_->next(0), 0u);
}

TEST_F(SweepStateTest, AFailedRunAndWhatWaitsForItStayFailedUnlessRetried) {
  state_->next(0);
  state_->failed(0, "step 3: broke");
  const size_t ptq = 1;
  ASSERT_EQ(sweep_.runs[ptq].depends_on, 0);
  start();
  EXPECT_EQ(state_->count(RunState::failed), 2u);
  EXPECT_EQ(row(0).reason, "step 3: broke");
  EXPECT_EQ(row(ptq).status, "failed");
  EXPECT_EQ(row(ptq).reason, "starts from run " + sweep_.runs[0].run_id + ", which failed");
  start(/*retry_failed=*/true);
  EXPECT_EQ(state_->count(RunState::failed), 0u);
  EXPECT_EQ(row(0).status, "pending");
  EXPECT_EQ(row(0).reason, "");
  EXPECT_EQ(state_->next(0), 0u);
  finish(0, 90);
  start();
  EXPECT_EQ(row(0).status, "done") << "the last word counts";
}

TEST_F(SweepStateTest, ARunWhoseEndAKillKeptFromTheJournalIsDoneAndKeepsNoCheckpoints) {
  ASSERT_EQ(state_->next(0), 0u);
  const RunRecord record = record_of(sweep_.runs[0], 97);
  std::filesystem::create_directories(result_file(0).parent_path());
  ResultFile file;
  file.runs = {record.run};
  write_results(result_file(0), file);
  const auto checkpoint = result_file(0).parent_path() / "checkpoint-8.safetensors";
  write_text(checkpoint, "");
  ASSERT_EQ(list_checkpoints(result_file(0).parent_path()).size(), 1u);
  start();
  EXPECT_EQ(row(0).status, "done");
  EXPECT_NE(journal().find("run_done"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(checkpoint));
}

TEST_F(SweepStateTest, AFailureThatAKillKeptFromTheJournalIsMadeUpFor) {
  state_->next(0);
  state_->failed(0, "broke");
  const std::string text = journal();
  const size_t second = text.find("starts from run");
  write_text(folder_.path() / "journal.jsonl", text.substr(0, text.rfind('\n', second) + 1));
  start();
  EXPECT_EQ(row(1).status, "failed");
  EXPECT_EQ(read_journal(folder_.path() / "journal.jsonl").back()["run_id"], sweep_.runs[1].run_id);
}

TEST_F(SweepStateTest, AnUnreadableResultIsDoneAgainWithAWarning) {
  state_->next(0);
  finish(0, 90);
  const std::string whole = content_of(result_file(0));
  std::string flipped = whole;
  flipped[flipped.size() / 2] ^= 1;
  for (const std::string& damaged : {std::string(), whole.substr(0, whole.size() / 2), flipped}) {
    write_text(result_file(0), damaged);
    start();
    ASSERT_EQ(warnings_.size(), 1u);
    EXPECT_NE(warnings_[0].find(result_file(0).string()), std::string::npos) << warnings_[0];
    EXPECT_NE(warnings_[0].find("; the run is done again"), std::string::npos);
    EXPECT_EQ(warnings_[0].find('\n'), std::string::npos);
    EXPECT_EQ(row(0).status, "pending");
    EXPECT_EQ(state_->count(RunState::pending), 12u);
  }
  std::filesystem::remove(result_file(0));
  start();
  EXPECT_EQ(warnings_.size(), 1u);
}

TEST_F(SweepStateTest, AResultWithoutItsWordInTheJournalIsNotTaken) {
  state_->next(0);
  finish(0, 90);
  std::filesystem::remove(folder_.path() / "journal.jsonl");
  start();
  EXPECT_EQ(row(0).status, "pending");
}

TEST_F(SweepStateTest, JournalTellsTheStory) {
  state_->next(3);
  state_->epoch(0, {sweep_.runs[0].run_id, 1});
  finish(0, 90);
  state_->sweep_ended();
  std::vector<std::string> kinds;
  const auto events = read_journal(folder_.path() / "journal.jsonl");
  for (const auto& event : events) kinds.push_back(event["event"]);
  EXPECT_EQ(kinds, (std::vector<std::string>{"sweep_started", "run_started", "run_done", "sweep_ended"}));
  EXPECT_EQ(events[1]["group"], 3);
  EXPECT_EQ(events[2]["run_id"], sweep_.runs[0].run_id);
  EXPECT_EQ(events[2]["metric"], 90);
  EXPECT_EQ(events[3]["done"], 1);
  EXPECT_EQ(events[3]["pending"], 11);
}

TEST_F(SweepStateTest, ARunTriedAgainForgetsItsOldEpochs) {
  state_->next(0);
  state_->epoch(0, {sweep_.runs[0].run_id, 1});
  EXPECT_EQ(state_->results().epochs.size(), 1u);
  start();
  EXPECT_EQ(state_->results().epochs.size(), 0u);
}

}  // namespace
}  // namespace diffq
