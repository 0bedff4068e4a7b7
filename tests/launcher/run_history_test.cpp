#include "launcher/run_history.h"

#include "tests/launcher/sweeps.h"
#include "tests/support/idx_files.h"

namespace diffq {
namespace {

using Events = std::vector<nlohmann::json>;

nlohmann::json started(int64_t step) { return {{"event", "run_started"}, {"run_id", "a"}, {"step", step}}; }
nlohmann::json event(const std::string& kind, const std::string& reason = "") {
  return {{"event", kind}, {"run_id", "a"}, {"reason", reason}};
}
RunHistory history_of(const Events& events) { return read_histories(events)["a"]; }

TEST(RunHistory, CountsStartsWithoutANewCheckpoint) {
  const RunHistory history = history_of({started(0), started(0), started(40), started(40), started(40)});
  EXPECT_TRUE(history.started);
  EXPECT_EQ(history.step, 40);
  EXPECT_EQ(history.fruitless, 3);
  EXPECT_EQ(history.quarantine(40, 4), "");
  EXPECT_EQ(history.quarantine(80, 3), "") << "the last start has made one";
  EXPECT_EQ(history.quarantine(40, 3).find("quarantined: 3 starts without a new checkpoint"), 0u);
}

TEST(RunHistory, StartsThatWereStoppedDoNotCount) {
  const RunHistory history = history_of({started(5), event("run_stopped"), started(5), event("run_stopped")});
  EXPECT_FALSE(history.started);
  EXPECT_EQ(history.fruitless, 0);
}

TEST(RunHistory, AThirdCrashIsTheLast) {
  Events events{started(0), event("run_crashed", "first"), started(10), event("run_crashed", "second")};
  EXPECT_EQ(history_of(events).quarantine(10, 20), "");
  events.push_back(started(20));
  events.push_back(event("run_crashed", "third"));
  const std::string reason = history_of(events).quarantine(20, 20);
  EXPECT_EQ(reason, "quarantined: it ended 3 starts, the last with: third; --retry-failed starts it again");
  events.push_back(event("run_failed", reason));
  events.push_back(started(20));
  EXPECT_EQ(history_of(events).crashes, 0) << "tried again, it has three more";
}

TEST(RunHistory, TheLastEndCounts) {
  const RunHistory failed = history_of({started(0), event("run_failed", "broke")});
  ASSERT_TRUE(failed.ended);
  EXPECT_EQ((*failed.ended)["reason"], "broke");
  EXPECT_FALSE(failed.started);
  EXPECT_TRUE(failed.files().empty());
  nlohmann::json done = event("run_done");
  done["files"]["result.h5"] = {{"bytes", 7}, {"sum", "00"}};
  const RunHistory history = history_of({started(0), event("run_failed", "broke"), started(0), done});
  EXPECT_EQ(history.files().at("result.h5"), (FileSum{7, "00"}));
  EXPECT_FALSE(history_of({started(0), done, started(0)}).ended) << "a damaged result is done again";
}

TEST(RunHistory, SumsAreThoseOfTheWholeFile) {
  const TemporaryFolder folder;
  write_text(folder.path() / "result.h5", "");
  write_text(folder.path() / "model.safetensors", std::string(3 << 20, 'x'));
  const nlohmann::json sums = sums_of_run(folder.path());
  // XXH3 of nothing, from its published test vectors.
  EXPECT_EQ(sums["result.h5"], (nlohmann::json{{"bytes", 0}, {"sum", "2d06800538d394c2"}}));
  EXPECT_EQ(sums["model.safetensors"]["bytes"], 3 << 20);
  write_text(folder.path() / "model.safetensors", std::string((3 << 20) - 1, 'x') + "y");
  EXPECT_NE(sums_of_run(folder.path())["model.safetensors"]["sum"], sums["model.safetensors"]["sum"]);
}

TEST(RunHistory, ACrashFileSaysWhy) {
  const TemporaryFolder folder;
  EXPECT_FALSE(read_crash(folder.path()));
  write_text(folder.path() / "crash", "[rank 1/2 a]: Segmentation fault\n[rank 0/2 a]: Aborted\n");
  EXPECT_EQ(read_crash(folder.path()), "[rank 1/2 a]: Segmentation fault");
  write_text(folder.path() / "crash", "");
  EXPECT_TRUE(read_crash(folder.path()));
}

}  // namespace
}  // namespace diffq
