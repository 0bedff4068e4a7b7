#pragma once
// One optimiser step of a run, start to end: noise, forward, backward with the sums over the group, size
// gradient, clipping, update. Open train_step.cpp first; it is the picture in the README.

#include <functional>
#include <string>

#include "trainer/gradient_buckets.h"
#include "trainer/optimizers.h"
#include "trainer/task.h"

namespace diffq {

struct StepResult {
  double loss = 0;           ///< mean over the group's batch, without the size penalty
  double gradient_norm = 0;  ///< of the weights' mean gradient, before clipping
  std::string skipped;       ///< why nothing was updated (something was not finite), or empty
  bool stop = false;         ///< some rank was told to stop: all leave after this step
};

/// What changes from step to step.
struct StepRates {
  double lr = 0;        ///< of the weights
  double lambda = 0;    ///< loss per MB
  bool frozen = false;  ///< the bits stay
};

class TrainStep {
 public:
  /// Everything is borrowed. `run_key` names the run in all random choices but shared noise, which is the
  /// same for any number of ranks (a run's id is not).
  TrainStep(const RunSpec& spec, uint64_t run_key, Task& task, ParameterStore& store, Quantizer& quantizer,
            GradientBuckets& buckets, Communicator& communicator);

  /// Collective. `next_batch` gives this rank's micro-batches; `stop`: whether it was told to stop. If any
  /// rank throws before its gradients are summed, all ranks throw RunFailure with its reason. What goes wrong
  /// after that, in the update, is thrown on this rank alone, as it is: the caller tells the group when it
  /// meets next.
  StepResult run(int64_t step, StepRates rates, const std::function<Batch()>& next_batch, bool stop = false);

  Optimizer& weights_optimizer() { return weights_optimizer_; }
  Optimizer& own_optimizer() { return own_optimizer_; }

 private:
  at::Tensor forward_backward(int64_t step, const std::function<Batch()>& next_batch);
  double scale_lr(double lr) const;
  double gradient_norm() const;
  bool own_gradients_finite() const;

  const RunSpec& spec_;
  uint64_t group_seed_, rank_seed_, noise_seed_;
  Task& task_;
  ParameterStore& store_;
  Quantizer& quantizer_;
  GradientBuckets& buckets_;
  Communicator& communicator_;
  Optimizer weights_optimizer_, own_optimizer_;
};

}  // namespace diffq
