#pragma once
// Learning rate of a step: a pure function of the step's number.

#include <cstdint>

#include "trainer/run_spec.h"

namespace diffq {

/// Rate of step `step` (from 0) of `epochs * steps_per_epoch`. constant; step: times factor every
/// every_epochs epochs; cosine: from lr to 0 over all steps, reached at the end of the last one. With warm-up
/// the rate first rises linearly, step s of the n warm-up steps having (s + 1) / n of it; the cosine then
/// covers the remaining steps. cosine_restarts: warm-up counted in steps, then from lr to 0 in every period
/// of period_steps, each beginning at `shrink` times the rate that the one before began at, whatever the
/// number of epochs.
double learning_rate(const OptimizerSpec& optimizer, const ScheduleSpec& schedule, int64_t step,
                     int64_t steps_per_epoch, int64_t epochs);

}  // namespace diffq
