#pragma once
// Whole runs of the small model, on one rank.

#include <string>

#include "tests/support/thread_communicator.h"
#include "tests/trainer/training_rig.h"
#include "trainer/train_run.h"

namespace diffq {

inline RunContext context_named(const std::string& run_id) {
  RunContext context;
  context.run_id = run_id;
  return context;
}

inline RunRecord run_alone(const RunSpec& spec, const RunContext& context = context_named("0123456789ab")) {
  return train_run(spec, memory_splits(), *single_rank(), context);
}

inline RunSpec learning_spec(Method method) {
  RunSpec spec = small_spec(method);
  spec.train.epochs = 4;
  spec.train.schedule.name = ScheduleName::cosine;
  return spec;
}

}  // namespace diffq
