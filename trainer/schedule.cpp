#include "trainer/schedule.h"

#include <cmath>
#include <numbers>

namespace diffq {

double learning_rate(const OptimizerSpec& optimizer, const ScheduleSpec& schedule, int64_t step,
                     int64_t steps_per_epoch, int64_t epochs) {
  const int64_t warmup = schedule.name == ScheduleName::cosine_restarts
                             ? schedule.warmup_steps
                             : std::llround(schedule.warmup_epochs * static_cast<double>(steps_per_epoch));
  if (step < warmup) return optimizer.lr * static_cast<double>(step + 1) / static_cast<double>(warmup);
  const auto cosine = [](double done) { return 0.5 * (1 + std::cos(std::numbers::pi * done)); };
  switch (schedule.name) {
    case ScheduleName::constant:
      return optimizer.lr;
    case ScheduleName::step:
      return optimizer.lr *
             std::pow(schedule.factor, static_cast<double>(step / steps_per_epoch / schedule.every_epochs));
    case ScheduleName::cosine: {
      const double total = static_cast<double>(epochs * steps_per_epoch - warmup);
      const double done = static_cast<double>(step - warmup) / total;
      return optimizer.lr * cosine(done);
    }
    case ScheduleName::cosine_restarts: {
      const int64_t period = (step - warmup) / schedule.period_steps;
      const double done = static_cast<double>((step - warmup) % schedule.period_steps) /
                          static_cast<double>(schedule.period_steps);
      return optimizer.lr * std::pow(schedule.shrink, static_cast<double>(period)) * cosine(done);
    }
  }
  return optimizer.lr;
}

}  // namespace diffq
