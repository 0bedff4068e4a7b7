#pragma once
// One run from initial weights to its rows of the result tables. Called by all ranks of a group together.

#include <c10/core/Device.h>

#include <functional>
#include <string>

#include "datasets/dataset.h"
#include "results/records.h"
#include "trainer/communicator.h"
#include "trainer/run_spec.h"
#include "trainer/step_graph.h"

namespace diffq {

struct UpdateKernels;

/// What a run tells while it goes on; called on the group's rank 0 alone, from train_run's own thread.
struct RunProgress {
  int64_t epoch = 0;  ///< from 1
  int64_t epochs = 0;
  int64_t step = 0;  ///< within the epoch, from 1
  int64_t steps = 0;
  double loss = 0;
};

/// What a run is told from outside, asked for at every step.
enum class Signal {
  none,
  checkpoint,  ///< write one now and go on
  stop         ///< write one and leave, all ranks of the group after the same step
};

/// Where a run goes on; told on rank 0 before its first step.
struct Resumption {
  std::string checkpoint;        ///< the file's name
  int64_t epoch = 0;             ///< in progress, from 1
  int64_t step = 0;              ///< taken of it
  std::vector<EpochRow> epochs;  ///< finished before
};

struct RunContext {
  std::string run_id;
  at::Device device = at::kCPU;            ///< where this rank trains
  const UpdateKernels* kernels = nullptr;  ///< for tests: what ends a step on the CPU in place of its loops
  MakeStepGraph make_graph = nullptr;      ///< … and what records it
  std::function<void(const RunProgress&)> on_progress = [](const RunProgress&) {};
  std::function<void(const EpochRow&)> on_epoch = [](const EpochRow&) {};
  std::function<void(const Resumption&)> on_resume = [](const Resumption&) {};
  std::function<void(const std::string&)> on_warning = [](const std::string&) {};
  std::function<Signal()> signal = [] { return Signal::none; };  ///< on every rank; cheap
  std::string checkpoint_folder;  ///< where this run's checkpoints are, or "" for none
  std::string start_file;         ///< model or weights to start from, or ""
  std::string model_file;         ///< where to write the packed model, or ""
  bool copies_state = false;      ///< without a folder: checkpoints are copied as ever, but not written
  std::string config = "{}";      ///< specification of the run as JSON, for that file
};

/// Collective. Goes on from the newest checkpoint in the context's folder, if there is one. The same record
/// on every rank; status "done". Throws RunFailure on all ranks if the run can't go on, RunStopped if any
/// rank was told to stop, when its checkpoint is written.
RunRecord train_run(const RunSpec& spec, const DataSplits& data, Communicator& communicator,
                    const RunContext& context);

}  // namespace diffq
