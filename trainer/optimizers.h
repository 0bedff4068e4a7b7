#pragma once
// SGD, NAG, Adam and AdamW on ranges of the flat buffers (torch's own optimisers would update the copy that
// the model sees). The same arithmetic as torch::optim, in float32.
//
// NAG is the Nesterov momentum of the published language models (Bengio et al., arXiv:1212.0901), in the form
//   v <- momentum v + g;   w <- (1 - lr decay) w - lr (g + momentum v)
// It is SGD with nesterov, but for the weight decay, which does not go through the momentum. (Published code
// keeps -lr v instead of v, and rescales it when lr changes: the same values.)

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/optimizer_rules.h"
#include "trainer/run_spec.h"

namespace diffq {

/// A range of values and of their gradients; both live as long as the optimiser.
struct OptimizerRange {
  at::Tensor values;    ///< [n] flat, updated in place
  at::Tensor gradient;  ///< [n] flat
};

class Optimizer {
 public:
  Optimizer(const OptimizerSpec& spec, std::vector<OptimizerRange> ranges);

  const OptimizerLaw& law() const { return law_; }
  const std::vector<OptimizerRange>& ranges() const { return ranges_; }

  /// One step, on the CPU, with learning rate `lr` on gradient_scale times the gradients.
  void step(double lr, double gradient_scale);

  /// Everything that a checkpoint needs, by name ("momentum", "exp_avg", "exp_avg_sq"), flat over the ranges
  /// in order.
  std::vector<std::pair<std::string, at::Tensor>> state() const;
  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }  ///< of a checkpoint, whose tensors state() takes

 private:
  OptimizerLaw law_;
  std::vector<OptimizerRange> ranges_;
  std::vector<int64_t> state_offsets_;
  at::Tensor first_, second_;  ///< momentum | first and second moments
  int64_t steps_ = 0;          ///< steps taken; skipped ones do not count
};

}  // namespace diffq
