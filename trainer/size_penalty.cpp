#include "trainer/size_penalty.h"

#include <algorithm>
#include <cmath>

namespace diffq {
namespace {

/// Where λ begins. It finds its order of magnitude within the first steps: at full speed it changes by this
/// many decades in a run.
constexpr double kStart = 1, kDecades = 40;
/// More makes bits fall no faster (Adam), and would be long remembered by its moments.
constexpr double kMost = 1e4;
/// The part of the steps in which the path falls; the rest is for the weights to settle at the target.
/// Falling at leisure finds the groups that can do without a bit; where in the end all are at their least
/// there is nothing to find, and the sooner the weights learn to live with it the better.
constexpr double kFallingPart = 0.5, kFallingPartToLeast = 0.25;
/// From so far above the least size on, relative to what lies between it and the start.
constexpr double kRoom = 0.1;
/// λ is there in full from this far above the path, relative to it.
constexpr double kBand = 0.02;

}  // namespace

SizePenalty::SizePenalty(const MethodSpec& method, double start_mb, double least_mb, int64_t steps)
    : target_mb_(method.target_mb),
      start_mb_(start_mb),
      lambda_(method.lambda),
      steps_(static_cast<double>(steps)) {
  const double room = std::clamp((target_mb_ - least_mb) / (kRoom * (start_mb - least_mb)), 0.0, 1.0);
  falling_steps_ = steps_ * std::lerp(kFallingPartToLeast, kFallingPart, room);
}

double SizePenalty::start() const { return target_mb_ > 0 ? kStart : lambda_; }

double SizePenalty::path_mb(int64_t step) const {
  const double fallen = std::min(1.0, static_cast<double>(step) / falling_steps_);
  return start_mb_ + (target_mb_ - start_mb_) * fallen;
}

// In balance the size is half the band above the path: what is then too much fit_size takes away in the end.
double SizePenalty::follow(int64_t step, double size_mb, double& strength) const {
  const double above = (size_mb / path_mb(step) - 1) / kBand;
  const double speed = std::clamp(2 * above - 1, -1.0, 1.0);
  strength = std::min(kMost, strength * std::pow(10, kDecades / steps_ * speed));
  return strength * std::clamp(above, 0.0, 1.0);
}

}  // namespace diffq
