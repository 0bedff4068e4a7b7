#pragma once
// All that a training needs to go on exactly where it was, between two steps: how far it is, and every tensor
// that steps change, by name ("master/conv1.weight", "weights.momentum/conv1.weight",
// "buffer/bn1.running_mean"). Order of data, noise, dropout and schedule are functions of the step: they have
// no state.

#include <ATen/core/Tensor.h>

#include "results/records.h"
#include "trainer/checkpoint.h"
#include "trainer/communicator.h"
#include "trainer/train_step.h"

namespace diffq {

/// How far a run is. `epoch` is the one in progress, or the number of epochs when training is over.
struct TrainingState {
  int64_t epoch = 0;           ///< from 0
  int64_t epoch_steps = 0;     ///< taken of it
  double loss_sum = 0;         ///< over its steps that were not skipped
  int64_t counted = 0;         ///< such steps
  double lr = kNotApplicable;  ///< of its last step
  double lambda_sum = 0;       ///< over its steps
  double epoch_seconds = 0;

  double penalty = 0;  ///< strength of the SizePenalty

  int64_t steps = 0;  ///< of the run, skipped ones among them
  int64_t skipped_steps = 0;
  int64_t skipped_in_a_row = 0;  ///< up to the last step, over the ends of epochs
  double train_seconds = 0;      ///< of finished epochs
  std::vector<EpochRow> epochs;  ///< finished ones

  /// What came of a step.
  void add(const StepResult& result);
  void next_epoch(const EpochRow& finished);
};

struct NamedTensor {
  std::string name;
  at::Tensor tensor;  ///< the live one, contiguous
};
/// Every tensor that steps change.
std::vector<NamedTensor> state_tensors(const ParameterStore& store, TrainStep& step);

/// What one training saves and restores. Everything is borrowed.
class TrainingCheckpoints {
 public:
  /// `tensors`: those of state_tensors, and whatever else the training keeps from step to step.
  TrainingCheckpoints(std::filesystem::path folder, std::string run_id, const ParameterStore& store,
                      TrainStep& step, std::vector<NamedTensor> tensors);

  /// On the group's rank 0: copies the state, for the writer.
  void copy(const TrainingState& state, Snapshot& snapshot) const;

  struct Restored {
    std::string file;  ///< empty: there was none to go on from
    TrainingState state;
    std::vector<std::string> warnings;  ///< on rank 0: what could not be used, or not as it was
  };
  /// Collective: the newest checkpoint that is whole and of this run, read by rank 0, on all ranks. What
  /// can't be used is removed, with a warning.
  Restored restore(Communicator& communicator);

 private:
  TrainingState load(const std::filesystem::path& path, std::vector<std::string>& warnings);

  std::filesystem::path folder_;
  std::string run_id_;
  const ParameterStore& store_;
  TrainStep& step_;
  std::vector<NamedTensor> tensors_;
};

}  // namespace diffq
