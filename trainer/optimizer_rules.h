#pragma once
// What one step of an optimiser does to one value: stated once for the CPU's loops (optimizers.cpp) and the
// GPU's kernels. The same arithmetic as torch::optim, in float32.

#include <math.h>

#include <cstdint>

#include "quant/device_code.h"

namespace diffq {

/// An OptimizerSpec without its words.
struct OptimizerLaw {
  bool adam = false;       ///< else SGD and NAG
  bool decoupled = false;  ///< weight decay does not go through the gradient
  bool nesterov = false;
  double weight_decay = 0, momentum = 0, beta1 = 0, beta2 = 0, epsilon = 0;
};

/// The constants of one step.
struct OptimizerRule {
  bool nesterov;
  float scale;      ///< of the gradient
  float step_size;  ///< lr; Adam: lr / (1 - beta1^t)
  float coupled_decay, decay_factor, momentum;
  float beta1, beta2, epsilon, sqrt_correction2;

  DIFFQ_BOTH float scaled(float value, float gradient) const {
    return gradient * scale + coupled_decay * value;
  }
  DIFFQ_BOTH void sgd(float& value, float gradient) const {
    value = decay_factor * value - step_size * scaled(value, gradient);
  }
  DIFFQ_BOTH void sgd(float& value, float gradient, float& velocity) const {
    const float g = scaled(value, gradient);
    const float v = momentum * velocity + g;
    velocity = v;
    value = decay_factor * value - step_size * (nesterov ? g + momentum * v : v);
  }
  DIFFQ_BOTH void adam(float& value, float gradient, float& mean, float& square) const {
    const float decayed = value * decay_factor;
    const float g = scaled(value, gradient);
    mean += (1 - beta1) * (g - mean);
    square = beta2 * square + (1 - beta2) * g * g;
    value = decayed - step_size * mean / (sqrtf(square) / sqrt_correction2 + epsilon);
  }
};

/// `steps`: taken, with this one.
DIFFQ_BOTH inline OptimizerRule make_rule(const OptimizerLaw& law, double lr, double gradient_scale,
                                          int64_t steps) {
  OptimizerRule rule{};
  rule.nesterov = law.nesterov;
  rule.scale = static_cast<float>(gradient_scale);
  rule.coupled_decay = law.decoupled ? 0.0f : static_cast<float>(law.weight_decay);
  rule.decay_factor = law.decoupled ? static_cast<float>(1 - lr * law.weight_decay) : 1.0f;
  rule.momentum = static_cast<float>(law.momentum);
  rule.step_size = static_cast<float>(lr);
  if (law.adam) {
    const double t = static_cast<double>(steps);
    rule.step_size = static_cast<float>(lr / (1 - pow(law.beta1, t)));
    rule.beta1 = static_cast<float>(law.beta1);
    rule.beta2 = static_cast<float>(law.beta2);
    rule.epsilon = static_cast<float>(law.epsilon);
    rule.sqrt_correction2 = static_cast<float>(sqrt(1 - pow(law.beta2, t)));
  }
  return rule;
}

}  // namespace diffq
