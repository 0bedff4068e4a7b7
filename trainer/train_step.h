#pragma once
// One optimiser step of a run, start to end: noise, forward, backward with the sums over the group, size
// gradient, clipping, update. Open train_step.cpp first; it is the picture in the README.

#include <functional>
#include <optional>
#include <string>

#include "trainer/device_update.h"
#include "trainer/gradient_buckets.h"
#include "trainer/optimizers.h"
#include "trainer/recorded_step.h"
#include "trainer/task.h"

namespace diffq {

struct StepResult {
  int64_t step = 0;          ///< which of the run, from 0
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
  /// same for any number of ranks (a run's id is not). `kernels`: what ends a step on the store's device;
  /// null for loops on the CPU. `make_graph`: what records steps where the run wants that (cuda_graph), with
  /// an OwnStream the current one from before `buckets` were made; used only with `kernels`.
  TrainStep(const RunSpec& spec, uint64_t run_key, Task& task, ParameterStore& store, Quantizer& quantizer,
            GradientBuckets& buckets, Communicator& communicator, const UpdateKernels* kernels = nullptr,
            MakeStepGraph make_graph = nullptr);

  /// Collective. `next_batch` gives this rank's micro-batches; `stop`: whether it was told to stop. If any
  /// rank throws before its gradients are summed, all ranks throw RunFailure with its reason. What goes wrong
  /// after that, in the update, is thrown on this rank alone, as it is: the caller tells the group when it
  /// meets next.
  ///
  /// On a GPU the host does not wait: what comes back, and what is thrown for the group, is of the step
  /// before (nothing yet from the first). settle() gives the rest.
  std::optional<StepResult> run(int64_t step, StepRates rates, const std::function<Batch()>& next_batch,
                                bool stop = false);
  /// Collective. The result of the last step where run() has not given it; waits for the GPU. Call it before
  /// the state is copied, evaluated or left.
  std::optional<StepResult> settle();
  /// The same, left for run() or settle() to give again; not collective. Nothing if a rank has failed.
  std::optional<StepResult> peek();
  /// On a GPU: 1 where the last step changed the weights, else 0; undefined on the CPU.
  at::Tensor updated() const { return device_ ? device_->updated() : at::Tensor(); }

  Optimizer& weights_optimizer() { return weights_optimizer_; }
  Optimizer& own_optimizer() { return own_optimizer_; }

 private:
  at::Tensor gradients(const std::function<Batch()>& next_batch);
  at::Tensor recorded_gradients(const std::function<Batch()>& next_batch);
  NoiseKey noise_key() const { return {noise_seed_, static_cast<uint32_t>(step_)}; }
  void begin_random();
  at::Tensor forward_backward(const std::function<Batch()>& next_batch);
  StepResult update();
  void update_on_device();
  void launch_update();
  StepResult read_device();
  StepResult result_of(const UpdateReport& report) const;
  int64_t ranks(float flag) const;
  void average_own_gradients();
  double own_lr(double lr) const;
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
  std::optional<DeviceUpdate> device_;
  std::optional<RecordedStep> recorded_;
  at::Tensor recorded_loss_;
  int64_t step_ = 0;     ///< of the last run()
  StepRates rates_;      ///< of it too
  std::string failure_;  ///< of this rank, in a step whose end the host does not know yet
};

}  // namespace diffq
