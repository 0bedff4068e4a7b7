#include "trainer/size_penalty.h"

#include <algorithm>
#include <cmath>

namespace diffq {
namespace {

/// Where λ begins. It finds its order of magnitude within the first steps: at full speed it changes by this
/// many decades in a run.
constexpr double kStart = 1, kDecades = 40;
/// The part of the steps in which the path falls; the rest is for the weights to settle at the target.
constexpr double kFallingPart = 0.5;
/// λ is there in full from this far above the path, relative to it.
constexpr double kBand = 0.02;

}  // namespace

SizePenalty::SizePenalty(const MethodSpec& method, double start_mb, int64_t steps)
    : target_mb_(method.target_mb), start_mb_(start_mb), lambda_(method.lambda), steps_(steps) {}

double SizePenalty::start() const { return target_mb_ > 0 ? kStart : lambda_; }

double SizePenalty::path_mb(int64_t step) const {
  const double fallen =
      std::min(1.0, static_cast<double>(step) / (kFallingPart * static_cast<double>(steps_)));
  return start_mb_ + (target_mb_ - start_mb_) * fallen;
}

// In balance the size is half the band above the path: what is then too much fit_size takes away in the end.
double SizePenalty::follow(int64_t step, double size_mb, double& strength) const {
  const double above = (size_mb / path_mb(step) - 1) / kBand;
  const double speed = std::clamp(2 * above - 1, -1.0, 1.0);
  strength *= std::pow(10, kDecades / static_cast<double>(steps_) * speed);
  return strength * std::clamp(above, 0.0, 1.0);
}

}  // namespace diffq
