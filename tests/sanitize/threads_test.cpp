// Threads that share something, driven hard, for ThreadSanitizer to watch.

#include <atomic>
#include <thread>

#include "launcher/sweep_state.h"
#include "tests/launcher/sweeps.h"
#include "tests/support/idx_files.h"
#include "trainer/checkpoint.h"

namespace diffq {
namespace {

TEST(Threads, ACheckpointIsWrittenWhileTheNextIsMade) {
  const TemporaryFolder folder;
  std::vector<uint8_t> weights(10'000);
  {
    CheckpointWriter writer(folder.path());
    for (int64_t step = 1; step <= 100; ++step) {
      for (uint8_t& weight : weights) weight = static_cast<uint8_t>(weight + step);  // training goes on
      if (step % 3 == 0 && writer.busy()) continue;
      writer.write([&](Snapshot& snapshot) {
        snapshot.step = step;
        snapshot.metadata = {{"run_id", "a"}};
        snapshot.tensors = {{"weights", "U8", {10'000}, 0, weights.size()}};
        snapshot.memory.assign(weights.begin(), weights.end());
      });
      EXPECT_EQ(writer.take_problem(), "");
    }
    writer.wait();
  }
  const auto files = list_checkpoints(folder.path());
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[0].step, 100);
  const SafetensorsFile file = read_checkpoint(files[0].path);
  EXPECT_TRUE(std::ranges::equal(file.tensors.at(0).bytes, weights));
}

TEST(Threads, TheQueueChangesWhileItsResultsAreRead) {
  const TemporaryFolder folder;
  const Sweep sweep = sweep_of(std::vector<int>(60, -1));
  FolderState nothing;
  for (const auto& run : sweep.runs) {
    nothing.states.push_back(RunState::pending);
    nothing.records.emplace_back().run.run_id = run.run_id;
    nothing.histories.emplace_back();
  }
  SweepState state(sweep, nothing, every_run(sweep), folder.path(), {});
  std::atomic<bool> done = false;
  std::thread reader([&] {
    while (!done) {
      const ResultFile results = state.results();
      EXPECT_EQ(results.runs.size(), 60u);
      EXPECT_LE(state.count(RunState::done) + state.count(RunState::failed), 60u);
      std::this_thread::yield();
    }
  });
  while (const auto run = state.next(0)) {
    for (int64_t epoch = 1; epoch <= 3; ++epoch) state.epoch(*run, {sweep.runs[*run].run_id, epoch});
    RunRecord record;
    record.run.run_id = sweep.runs[*run].run_id;
    record.run.status = "done";
    if (*run % 5 == 0) {
      state.failed(*run, "broke");
    } else {
      state.done(*run, record, nlohmann::json::object());
    }
    state.sync();
  }
  done = true;
  reader.join();
  EXPECT_EQ(state.count(RunState::failed), 12u);
  EXPECT_EQ(state.unfinished(), 0u);
}

}  // namespace
}  // namespace diffq
