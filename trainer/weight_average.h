#pragma once
// Exponential moving average of all that training changes: master weights, the quantizer's own parameters,
// floating-point buffers. What a run evaluates and packs when train.ema is above 0.

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "trainer/parameter_store.h"

namespace diffq {

class WeightAverage {
 public:
  /// Starts at the store's present values. Borrows the store. decay in (0, 1).
  WeightAverage(const ParameterStore& store, double decay);

  /// After a step: average = decay · average + (1 - decay) · value.
  void update();
  /// The same where the one number `updated`, on the store's device, is 1; nothing where it is 0.
  void update(const at::Tensor& updated);
  /// Exchanges the averages and the store's values. Call it before the weights are evaluated or packed, and
  /// again before training goes on.
  void swap();

  /// Goes on from the own parameters as they are now.
  void restart_own();

  /// For checkpoints: the averages by name, as the store's values are named there.
  const std::vector<std::pair<std::string, at::Tensor>>& averages() const { return averages_; }

 private:
  double decay_;
  std::vector<at::Tensor> values_;  ///< of the store
  std::vector<std::pair<std::string, at::Tensor>> averages_;
};

}  // namespace diffq
