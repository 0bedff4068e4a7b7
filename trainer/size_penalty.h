#pragma once
// λ, step by step: the one asked for, or one that brings the size down to a target. The size is led along a
// path from its start to the target; λ acts only while the size is above the path, grows while it stays
// there and falls while it does not.

#include <cstdint>

#include "quant/method_spec.h"

namespace diffq {

class SizePenalty {
 public:
  /// True sizes: `start_mb` before the first step, `least_mb` with all bits at their least. `steps`: in which
  /// bits are trained.
  SizePenalty(const MethodSpec& method, double start_mb, double least_mb, int64_t steps);

  /// Where λ begins.
  double start() const;
  /// λ of step `step` (from 0), before which the true size is size_mb(). `strength`: what λ has grown to,
  /// kept from step to step, at first start().
  template <class Size>
  double lambda(int64_t step, const Size& size_mb, double& strength) const {
    return target_mb_ > 0 ? follow(step, size_mb(), strength) : strength;
  }
  /// The size that step `step` should begin with.
  double path_mb(int64_t step) const;

 private:
  double follow(int64_t step, double size_mb, double& strength) const;

  double target_mb_, start_mb_, lambda_;
  double falling_steps_, steps_;
};

}  // namespace diffq
