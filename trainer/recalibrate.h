#pragma once
// Batch normalisation's statistics measured anew with the weights that are evaluated: those of training were
// collected with other weights.

#include "datasets/dataset.h"
#include "trainer/communicator.h"
#include "trainer/run_spec.h"
#include "trainer/task.h"

namespace diffq {

/// Sets the running statistics to their mean over spec.eval.recalibrate_batchnorm training batches, the first
/// ones of the run's first epoch, without augmentation and with the weights as they stand; rank 0's on every
/// rank. Collective; throws RunFailure on all ranks if one fails. Models without batch normalisation are left
/// alone.
void recalibrate_batchnorm(const RunSpec& spec, Task& task, const Dataset& train, Communicator& communicator);

}  // namespace diffq
