#pragma once
// What becomes of DiffQ's bits over a run: λ of each step, the size that was asked for, and the last phase, in
// which they are frozen. For the other methods there is nothing to control.

#include "quant/quantizer.h"
#include "trainer/run_spec.h"
#include "trainer/size_penalty.h"
#include "trainer/train_step.h"
#include "trainer/weight_average.h"

namespace diffq {

class BitsControl {
 public:
  /// `quantizer` (borrowed) has its own parameters at their start. `steps`: of the run.
  BitsControl(const MethodSpec& method, Quantizer& quantizer, int64_t steps);

  double start_strength() const { return penalty_.start(); }
  /// Before step `step` (from 0), at learning rate `lr`. `strength`: SizePenalty's, kept from step to step.
  /// `average`: of the run, or null. The first step with frozen bits meets the target.
  StepRates begin_step(int64_t step, double lr, double& strength, WeightAverage* average);
  /// After the last step: meets the target, where that has not been done.
  void finish();

 private:
  void fit_size();

  const MethodSpec& method_;
  Quantizer& quantizer_;
  int64_t free_steps_;  ///< from then on the bits are frozen
  SizePenalty penalty_;
};

}  // namespace diffq
