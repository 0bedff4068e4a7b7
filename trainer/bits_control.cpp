#include "trainer/bits_control.h"

#include <cmath>

namespace diffq {

BitsControl::BitsControl(const MethodSpec& method, Quantizer& quantizer, int64_t steps)
    : method_(method),
      quantizer_(quantizer),
      free_steps_(static_cast<int64_t>(std::ceil((1 - method.frozen) * static_cast<double>(steps)))),
      penalty_(method, quantizer.size_mb(), quantizer.least_size_mb(), free_steps_) {}

StepRates BitsControl::begin_step(int64_t step, double lr, double& strength, WeightAverage* average) {
  if (step < free_steps_ || method_.frozen == 0)
    return {.lr = lr,
            .lambda = penalty_.lambda(
                step, [&] { return quantizer_.size_mb(); }, strength)};
  if (step == free_steps_) {
    fit_size();
    if (average) average->restart_own();
  }
  quantizer_.freeze();
  return {.lr = lr, .frozen = true};
}

void BitsControl::finish() {
  if (method_.frozen == 0) fit_size();
}

void BitsControl::fit_size() {
  if (method_.target_mb > 0) quantizer_.fit_size(method_.target_mb);
}

}  // namespace diffq
