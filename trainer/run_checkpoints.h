#pragma once
// When the checkpoints of a run are copied and written: on rank 0 alone, since all ranks have the same state.

#include <chrono>
#include <optional>

#include "trainer/train_run.h"
#include "trainer/training_state.h"
#include "trainer/weight_average.h"

namespace diffq {

class RunCheckpoints {
 public:
  /// Where the context has no folder, none is read or written. `average`: null where there is none.
  /// Everything is borrowed.
  RunCheckpoints(const RunSpec& spec, const RunContext& context, Communicator& communicator,
                 const ParameterStore& store, TrainStep& step, const WeightAverage* average);

  /// Collective: the newest one that can be used.
  TrainingCheckpoints::Restored restore();
  /// Tells what was restored; from now on they are written.
  void begin(const TrainingCheckpoints::Restored& restored);

  /// Between two steps. Where the last one is still being written, training does not wait for the disk.
  /// `wanted`: whether or not it is time.
  void keep(const TrainingState& state, bool wanted);
  /// The last of this process; returns when it is written.
  void keep_last(const TrainingState& state);

 private:
  void tell_problem(const char* consequence);

  const RunSpec& spec_;
  const RunContext& context_;
  Communicator& communicator_;
  TrainStep& step_;
  TrainingCheckpoints checkpoints_;
  std::optional<CheckpointWriter> writer_;  ///< on rank 0, where they are wanted
  Snapshot copied_;                         ///< where they are copied only
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace diffq
