#pragma once
// One run from initial weights to its rows of the result tables. Called by all ranks of a group together.

#include <functional>
#include <string>

#include "datasets/dataset.h"
#include "results/records.h"
#include "trainer/communicator.h"
#include "trainer/run_spec.h"

namespace diffq {

/// What a run tells while it goes on; called on the group's rank 0 alone, from train_run's own thread.
struct RunProgress {
  int64_t epoch = 0;  ///< from 1
  int64_t epochs = 0;
  int64_t step = 0;  ///< within the epoch, from 1
  int64_t steps = 0;
  double loss = 0;
};

struct RunContext {
  std::string run_id;
  std::function<void(const RunProgress&)> on_progress = [](const RunProgress&) {};
  std::function<void(const EpochRow&)> on_epoch = [](const EpochRow&) {};
  std::string start_file;     ///< model or weights to start from, or ""
  std::string model_file;     ///< where to write the packed model, or ""
  std::string config = "{}";  ///< specification of the run as JSON, for that file
};

/// Collective. The same record on every rank; status "done". Throws RunFailure on all ranks if the run can't
/// go on.
RunRecord train_run(const RunSpec& spec, const DataSplits& data, Communicator& communicator,
                    const RunContext& context);

}  // namespace diffq
