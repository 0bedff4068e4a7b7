#pragma once
// Loss and metric of the whole data set, each sample exactly once on any number of ranks.

#include "datasets/dataset.h"
#include "trainer/communicator.h"
#include "trainer/task.h"

namespace diffq {

/// Sums over the group of the weights and buffers as they stand (call Quantizer::materialize_rounded first).
/// Collective; throws RunFailure on all ranks if one fails.
MetricSums evaluate(Task& task, const Dataset& data, const EvalSpec& spec, int workers,
                    Communicator& communicator);

}  // namespace diffq
